/*
 * driver.c: main() for fuzz targets without libFuzzer: replays files.
 *
 *     fuzz_gguf tests/fuzz/corpus/gguf [FILE | FOLDER ...]
 *
 * Each file goes to LLVMFuzzerTestOneInput() in a block of exactly its size, so that a sanitizer
 * sees a read beyond it. One line of TAP per argument; a folder without files fails, since a corpus
 * that went missing should be noticed. A target that finds a violation aborts; the last line on
 * stderr names the file.
 */
#include "base/err.h"
#include "base/mem.h"
#include "base/os.h"

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n_bytes);

#define INPUT_BYTES_MAX ((size_t)64 << 20) /* a corpus of larger files would not be one */
#define PATH_BYTES_MAX 4096

static bool replay_file(const char *path)
{
    char *text = NULL;
    size_t n_bytes = 0;
    if (os_read_all(path, INPUT_BYTES_MAX, &text, &n_bytes)) {
        printf("# %s\n", err_msg());
        return false;
    }
    fprintf(stderr, "%s\n", path);
    uint8_t *exact =
        mem_realloc(MEM_MISC, text, n_bytes); /* without the NUL and the room to grow */
    if (!exact) {
        mem_free(text);
        printf("# %s\n", err_msg());
        return false;
    }
    LLVMFuzzerTestOneInput(exact, n_bytes);
    mem_free(exact);
    return true;
}

/* Replays the files of a folder; false when one fails or there is none. */
static bool replay_folder(DIR *dir, const char *path, unsigned *n_file)
{
    bool ok = true;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (entry->d_name[0] == '.') continue;
        char file[PATH_BYTES_MAX];
        const int n = snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        ok = n > 0 && n < (int)sizeof file && replay_file(file) && ok;
        ++*n_file;
    }
    return ok && *n_file > 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: %s FILE|FOLDER...\n", argv[0]);
        return 2;
    }
    bool all_ok = true;
    printf("1..%d\n", argc - 1);
    for (int i = 1; i < argc; i++) {
        unsigned n_file = 0;
        DIR *dir = opendir(argv[i]);
        bool ok;
        if (dir) {
            ok = replay_folder(dir, argv[i], &n_file);
            closedir(dir);
        } else {
            n_file = 1;
            ok = replay_file(argv[i]);
        }
        printf("%sok %d - %s (%u files)\n", ok ? "" : "not ", i, argv[i], n_file);
        fflush(stdout);
        all_ok = all_ok && ok;
    }
    return all_ok ? 0 : 1;
}
