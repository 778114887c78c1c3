/*
 * check_dequant.c: to_f32 against recorded vectors (tests/data/dequant.txt), bit for bit.
 *
 * A line is: type, kind, the bytes of a row in hex, the bits of its floats in hex. '#' begins a
 * comment.
 */
#include "tests/kern/check.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { LINE_BYTES_MAX = 16384, ROW_BYTES_MAX = 1024, ROW_ITEMS_MAX = 1024 };

static const struct weights *find_type(const char *name)
{
    for (size_t i = 0; i < N_WEIGHTS; i++) {
        if (strcasecmp(weights[i].name, name) == 0) return &weights[i];
    }
    return NULL;
}

/* Bytes of a hex string; returns how many, 0 if it is no hex or too long. */
static size_t unhex(const char *hex, uint8_t *dst, size_t n_max)
{
    const size_t n = strlen(hex) / 2;
    if (n > n_max) return 0;
    for (size_t i = 0; i < n; i++) {
        unsigned byte = 0;
        if (sscanf(hex + 2 * i, "%2x", &byte) != 1) return 0;
        dst[i] = (uint8_t)byte;
    }
    return n;
}

static bool check_line(const struct kern *k, char *line, char *why, size_t why_bytes)
{
    static uint8_t raw[ROW_BYTES_MAX + 1];
    static uint8_t bits[ROW_ITEMS_MAX * 4];
    static float y[ROW_ITEMS_MAX];
    char *save = NULL;
    const char *const name = strtok_r(line, " \n", &save);
    const char *const kind = strtok_r(NULL, " \n", &save);
    const char *const raw_hex = strtok_r(NULL, " \n", &save);
    const char *const bits_hex = strtok_r(NULL, " \n", &save);
    const struct weights *const t = name ? find_type(name) : NULL;
    const size_t n_raw =
        t && bits_hex ? unhex(raw_hex, raw + 1, ROW_BYTES_MAX) : 0; /* at an odd address */
    const size_t n_bits = n_raw ? unhex(bits_hex, bits, sizeof bits) : 0;
    if (!n_bits || n_bits / 4 != n_raw / t->block_bytes * t->block_items) {
        snprintf(why, why_bytes, "unreadable line for '%s'", name ? name : "");
        return false;
    }
    k->to_f32[t->type](raw + 1, y, n_bits / 4);
    for (size_t i = 0; i < n_bits / 4; i++) {
        const uint8_t *const b = bits + 4 * i;
        const uint32_t want =
            (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
        uint32_t got;
        memcpy(&got, &y[i], 4);
        if (got == want) continue;
        snprintf(why, why_bytes, "%s %s: item %zu is %08x, want %08x", name, kind, i, got, want);
        return false;
    }
    return true;
}

bool check_dequant(const struct kern *k, const char *path, char *why, size_t why_bytes)
{
    static char line[LINE_BYTES_MAX];
    FILE *const fp = fopen(path, "r");
    if (!fp) {
        snprintf(why, why_bytes, "cannot open %s: run from the top of the tree", path);
        return false;
    }
    size_t n = 0;
    bool ok = true;
    while (ok && fgets(line, sizeof line, fp)) {
        if (line[0] == '#') continue;
        ok = check_line(k, line, why, why_bytes);
        n++;
    }
    fclose(fp);
    if (ok && n < N_WEIGHTS - 1) {
        snprintf(why, why_bytes, "%s holds only %zu vectors", path, n);
        return false;
    }
    return ok;
}
