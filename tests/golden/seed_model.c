/*
 * seed_model.c: writes the model of a golden case from its seed.
 *
 * Item i of a matrix is k * 2^-shift with the integer k = splitmix64(seed, i) mod (2 amp + 1) -
 * amp: integer arithmetic, and one product by a power of two that float32 and float16 hold exactly.
 * So every compiler, libc and CPU writes the same bytes, those that the expected logits were
 * computed from (tools/gen_golden.py).
 */
#include "tests/golden/seed_model.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static uint64_t splitmix64(uint64_t seed, uint64_t i)
{
    uint64_t z = seed + (i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* The float16 bits of x, which is 0 or a normal float16 number with no bit beyond its mantissa. */
static uint16_t f16_exact(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000u;
    if (x == 0.0f) return (uint16_t)sign;
    const uint32_t exponent = (bits >> 23 & 0xFFu) - 127 + 15;
    return (uint16_t)(sign | exponent << 10 | (bits >> 13 & 0x3FFu));
}

static bool put_seeded(const json_t *row, FILE *out, size_t *n_bytes)
{
    const uint64_t seed = (uint64_t)json_integer_value(json_object_get(row, "seed"));
    const uint64_t n = (uint64_t)json_integer_value(json_object_get(row, "n"));
    const int64_t amp = json_integer_value(json_object_get(row, "amp"));
    const int shift = (int)json_integer_value(json_object_get(row, "shift"));
    const bool f16 = json_is_true(json_object_get(row, "f16"));
    const size_t item_bytes = f16 ? 2 : 4;
    for (uint64_t i = 0; i < n; i++) {
        const int64_t k = (int64_t)(splitmix64(seed, i) % (uint64_t)(2 * amp + 1)) - amp;
        const float x = ldexpf((float)k, -shift);
        const uint16_t half = f16_exact(x);
        if (fwrite(f16 ? (const void *)&half : &x, item_bytes, 1, out) != 1) return false;
    }
    *n_bytes = (size_t)n * item_bytes;
    return true;
}

static bool copy_bytes(FILE *in, FILE *out, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        const int c = getc(in);
        if (c == EOF || putc(c, out) == EOF) return false;
    }
    return true;
}

static bool put_tensors(const json_t *weights, FILE *in, FILE *out)
{
    const size_t align = (size_t)json_integer_value(json_object_get(weights, "align"));
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(weights, "tensors"), i, row)
    {
        size_t n_bytes = (size_t)json_integer_value(json_object_get(row, "bytes"));
        const bool ok = n_bytes > 0 ? copy_bytes(in, out, n_bytes) : put_seeded(row, out, &n_bytes);
        if (!ok) return false;
        for (; n_bytes % align != 0; n_bytes++) {
            if (putc(0, out) == EOF) return false;
        }
    }
    return getc(in) == EOF; /* the part is used up */
}

bool seed_model_write(const json_t *weights, const char *part, const char *target, char *why,
                      size_t why_bytes)
{
    FILE *in = fopen(part, "rb");
    FILE *out = fopen(target, "wb");
    bool ok = in && out;
    ok = ok &&
         copy_bytes(in, out, (size_t)json_integer_value(json_object_get(weights, "head_bytes")));
    ok = ok && put_tensors(weights, in, out);
    if (in) fclose(in);
    if (out) ok = fclose(out) == 0 && ok;
    if (!ok) snprintf(why, why_bytes, "cannot make %s from %s", target, part);
    return ok;
}

bool seed_case_write(const char *folder, const char *target)
{
    char path[256], why[512];
    snprintf(path, sizeof path, "%s/case.json", folder);
    json_t *const json = json_load_file(path, 0, NULL);
    snprintf(path, sizeof path, "%s/model.part", folder);
    const bool ok =
        json && seed_model_write(json_object_get(json, "weights"), path, target, why, sizeof why);
    json_decref(json);
    return ok;
}
