/*
 * gguf_magic.c: says what a file is that is not GGUF.
 *
 * People hand over the wrong file in a few typical ways: the checkpoint before conversion, the web
 * page of the download, the pointer that Git LFS leaves. Each gets a sentence with the way out.
 * Only the first bytes are looked at; nothing is parsed.
 */
#include "gguf/gguf_parse.h"

#include <assert.h>
#include <string.h>

static const struct {
    const char *bytes;
    size_t n;
    const char *sentence;
} known[] = {
    {"FUGG", 4,
     "a GGUF file with swapped bytes (big-endian); convert it for little-endian machines"},
    {"version https://git-lfs.github.com/spec/", 40,
     "a Git LFS pointer, not the model itself; run 'git lfs pull' in its repository"},
    {"PK\x03\x04", 4, "a ZIP archive, probably a PyTorch checkpoint; convert it to GGUF first"},
    {"\x80\x02", 2, "a Python pickle, probably a PyTorch checkpoint; convert it to GGUF first"},
    {"lmgg", 4,
     "a model in the old 'ggml' format from before GGUF; convert the original model to GGUF"},
    {"fmgg", 4,
     "a model in the old 'ggmf' format from before GGUF; convert the original model to GGUF"},
    {"tjgg", 4,
     "a model in the old 'ggjt' format from before GGUF; convert the original model to GGUF"},
    {"\x1f\x8b", 2, "compressed with gzip; unpack it first"},
    {"\x28\xb5\x2f\xfd", 4, "compressed with zstd; unpack it first"},
    {"\xfd\x37zXZ", 5, "compressed with xz; unpack it first"},
};

static bool starts_with_nocase(const uint8_t *data, size_t n_bytes, const char *lower)
{
    for (size_t i = 0; lower[i]; i++) {
        if (i >= n_bytes) return false;
        const uint8_t c =
            data[i] >= 'A' && data[i] <= 'Z' ? (uint8_t)(data[i] + 'a' - 'A') : data[i];
        if (c != (uint8_t)lower[i]) return false;
    }
    return true;
}

static bool is_html(const uint8_t *data, size_t n_bytes)
{
    size_t i = 0;
    if (n_bytes >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0) i = 3; /* byte order mark */
    while (i < n_bytes && i < 256 && memchr(" \t\r\n", data[i], 4)) i++;
    return starts_with_nocase(data + i, n_bytes - i, "<!doctype") ||
           starts_with_nocase(data + i, n_bytes - i, "<html");
}

/* safetensors: the length of a JSON header as 64 bits, then the header. */
static bool is_safetensors(const uint8_t *data, size_t n_bytes)
{
    if (n_bytes < 10 || data[8] != '{') return false;
    const uint64_t n_header = gguf_le(data, 8);
    return n_header >= 2 && n_header <= n_bytes - 8;
}

enum err gguf_explain_magic(const uint8_t *data, size_t n_bytes)
{
    assert(data || n_bytes == 0);
    assert(n_bytes < 4 || memcmp(data, "GGUF", 4) != 0);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (n_bytes >= known[i].n && memcmp(data, known[i].bytes, known[i].n) == 0)
            return err_set(ERR_INPUT, "is %s", known[i].sentence);
    }
    if (is_safetensors(data, n_bytes))
        return err_set(ERR_INPUT, "is a safetensors file; convert it to GGUF first");
    if (is_html(data, n_bytes))
        return err_set(ERR_INPUT,
                       "is an HTML page, not a model; the download probably needs a login or the "
                       "direct link to the file");
    if (n_bytes < 4)
        return err_set(ERR_INPUT, "has %zu bytes, too few for a GGUF file; fetch it again",
                       n_bytes);
    return err_set(ERR_INPUT,
                   "is not a GGUF file: it starts with bytes %02x %02x %02x %02x, expected "
                   "47 47 55 46 ('GGUF')",
                   data[0], data[1], data[2], data[3]);
}
