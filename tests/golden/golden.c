/*
 * golden.c: runs `moxie eval` over golden cases and compares with the float64 reference. Speaks
 * TAP, a line per case and mode.
 *
 *     golden DIR [CASE...]        DIR/<case>/case.json; the program is $MOXIE, ./moxie by default
 *
 * A case is a tiny model with up to SEQS_MAX token sequences, some rows of their logits, and the
 * ids that follow greedily with some of their rows. It is run with -c 256 -ctk f32 -ctv f32 as
 *   prefill   one batch: the rows against the reference
 *   decode    what follows greedily, through the KV cache: ids and rows against the reference
 *   threads   -t 2 instead of 1: equal bit for bit, decode included
 *   cuts      pieces of 1, 7 and 32 tokens: equal bit for bit
 *   replay    prompt and decoded ids as one prefill: equal bit for bit to having decoded them
 *   mapped    quantised models that are not repacked, 3 and 4 threads: equal bit for bit
 *   act-f32   quantised models with float32 activations: prefill and decode, sharp tolerance
 * Models in float32 must meet tol_abs_f32_vs_ref and give the same ids. Models of other types are
 * run with rounded activations: every row within tol_abs_q8act_vs_ref, every prefill within
 * tol_rms_q8act_vs_ref, and a greedy id may differ where the reference's logits of the two ids are
 * closer than that; the rows behind it are then compared by feeding the reference's ids.
 *
 * Refuses nothing: what cannot be read or run is a failed test that says why.
 */
#include "tests/golden/seed_model.h"

#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEQS_MAX 3
#define IDS_MAX 256 /* prompt and greedy ids together: the context of the cases */
#define CASES_MAX 256
#define PATH_BYTES 512
#define WHY_BYTES 1024
#define ARGS_MAX 32

struct list {
    uint32_t v[IDS_MAX];
    size_t n;
};

struct seq {
    struct list tokens, rows; /* rows: positions of ref */
    struct list greedy,
        greedy_rows;   /* greedy_rows: positions of greedy_ref, counted from the first id */
    float *ref;        /* (rows.n, n_vocab) */
    float *greedy_ref; /* (greedy_rows.n, n_vocab) */
};

struct run {       /* what one `moxie eval` gave */
    float *logits; /* (n_row, n_vocab) */
    size_t n_row;
    struct list ids; /* of --decode */
};

struct golden {
    json_t *json;
    char dir[PATH_BYTES];
    char model[PATH_BYTES];
    size_t n_vocab;
    bool is_f32;
    double tol_f32, tol_q8, tol_rms;
    struct seq seq[SEQS_MAX];
    struct run base[SEQS_MAX]; /* one batch, one thread, with decode: what all the others equal */
    size_t n_seq;
};

static char scratch[PATH_BYTES]; /* directory for models, ids and logits */
static char why[WHY_BYTES];      /* of the last failure */

static bool fail(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    return false;
}

/* Puts a place in front of the last failure. */
static bool fail_at(const char *fmt, ...)
{
    char place[64], text[WHY_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(place, sizeof place, fmt, ap);
    va_end(ap);
    memcpy(text, why, sizeof text);
    return fail("%s: %.900s", place, text);
}

static void *read_file(const char *path, size_t *n_bytes)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    void *data = NULL;
    if (f && fstat(fileno(f), &st) == 0) {
        *n_bytes = (size_t)st.st_size;
        data = malloc(*n_bytes + 1);
        if (data && fread(data, 1, *n_bytes, f) != *n_bytes) {
            free(data);
            data = NULL;
        }
    }
    if (f) fclose(f);
    if (!data) fail("cannot read %s", path);
    return data;
}

/* ---- one run of the program ---------------------------------------------------------------- */

static void run_free(struct run *r)
{
    free(r->logits);
    *r = (struct run){0};
}

static bool write_ids(const char *path, const struct list *ids)
{
    FILE *f = fopen(path, "w");
    if (!f) return fail("cannot write %s", path);
    for (size_t i = 0; i < ids->n; i++) fprintf(f, "%u\n", ids->v[i]);
    return fclose(f) == 0 || fail("cannot write %s", path);
}

static bool read_ids(const char *path, struct list *ids)
{
    FILE *f = fopen(path, "r");
    if (!f) return fail("cannot read %s", path);
    ids->n = 0;
    while (ids->n < IDS_MAX && fscanf(f, "%u", &ids->v[ids->n]) == 1) ids->n++;
    fclose(f);
    return true;
}

/* Runs argv with standard error in `log`; true when it ended with 0. */
static bool spawn(const char **argv, const char *log)
{
    int status = 0;
    const pid_t pid = fork();
    if (pid == 0) {
        const int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        if (fd >= 0) dup2(fd, STDERR_FILENO);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    if (pid < 0 || waitpid(pid, &status, 0) < 0) return fail("cannot start %s", argv[0]);
    if (status == 0) return true;
    size_t n = 0;
    char *text = read_file(log, &n);
    if (text) text[n] = '\0';
    for (char *end = text; end && (end = strchr(end, '\n'));) *end = ' ';
    fail("%s ended with %s %d: %.300s", argv[0], WIFSIGNALED(status) ? "signal" : "exit code",
         WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), text ? text : "");
    free(text);
    return false;
}

/* eval over ids, then n_decode greedy steps; extra: further options, NULL-terminated. */
static bool eval(const struct golden *g, const struct list *ids, size_t n_decode,
                 const char *const *extra, struct run *r)
{
    char in[PATH_BYTES + 16], out[PATH_BYTES + 16], ids_out[PATH_BYTES + 16], log[PATH_BYTES + 16],
        n[24];
    snprintf(in, sizeof in, "%s/in", scratch);
    snprintf(out, sizeof out, "%s/logits", scratch);
    snprintf(ids_out, sizeof ids_out, "%s/ids", scratch);
    snprintf(log, sizeof log, "%s/log", scratch);
    snprintf(n, sizeof n, "%zu", n_decode);
    const char *moxie = getenv("MOXIE");
    const char *argv[ARGS_MAX] = {moxie ? moxie : "./moxie",
                                  "eval",
                                  "-m",
                                  g->model,
                                  "--tokens",
                                  in,
                                  "--logits",
                                  out,
                                  "-c",
                                  "256",
                                  "-ctk",
                                  "f32",
                                  "-ctv",
                                  "f32"};
    size_t argc = 14;
    if (n_decode > 0) {
        const char *const decode[] = {"--decode", n, "--ids", ids_out};
        for (size_t i = 0; i < 4; i++) argv[argc++] = decode[i];
    }
    for (; *extra && argc < ARGS_MAX - 1; extra++) argv[argc++] = *extra;

    run_free(r);
    unlink(out);
    unlink(ids_out);
    if (!write_ids(in, ids) || !spawn(argv, log)) return false;
    if (n_decode > 0 && !read_ids(ids_out, &r->ids)) return false;
    if (r->ids.n != n_decode) return fail("--ids holds %zu ids, expected %zu", r->ids.n, n_decode);
    size_t n_bytes = 0;
    r->logits = read_file(out, &n_bytes);
    if (!r->logits) return false;
    r->n_row = ids->n + n_decode;
    const size_t want = r->n_row * g->n_vocab * sizeof(float);
    return n_bytes == want || fail("--logits holds %zu bytes, expected %zu", n_bytes, want);
}

/* ---- comparisons --------------------------------------------------------------------------- */

static const float *row_of(const struct golden *g, const float *rows, size_t i)
{
    return rows + i * g->n_vocab;
}

/* Rows `at[i] + offset` of r against row i of ref, for at[i] < n_valid. */
static bool rows_near(const struct golden *g, const struct run *r, const struct list *at,
                      size_t offset, size_t n_valid, const float *ref, double tol_abs,
                      double tol_rms)
{
    double sum = 0.0;
    size_t n = 0;
    for (size_t i = 0; i < at->n; i++) {
        if (at->v[i] >= n_valid) continue;
        const float *ours = row_of(g, r->logits, at->v[i] + offset);
        const float *theirs = row_of(g, ref, i);
        for (size_t id = 0; id < g->n_vocab; id++, n++) {
            const double d = (double)ours[id] - (double)theirs[id];
            if (!(fabs(d) <= tol_abs)) {
                return fail("position %zu, id %zu: %g, expected %g +- %g", at->v[i] + offset, id,
                            (double)ours[id], (double)theirs[id], tol_abs);
            }
            sum += d * d;
        }
    }
    const double rms = n > 0 ? sqrt(sum / (double)n) : 0.0;
    return rms <= tol_rms || fail("rms of the differences is %g, allowed %g", rms, tol_rms);
}

static bool rows_equal(const struct golden *g, const struct run *a, const struct run *b)
{
    const size_t n = (a->n_row < b->n_row ? a->n_row : b->n_row) * g->n_vocab;
    for (size_t i = 0; i < n; i++) {
        if (memcmp(&a->logits[i], &b->logits[i], sizeof(float)) != 0) {
            return fail("position %zu, id %zu: %.9g and %.9g", i / g->n_vocab, i % g->n_vocab,
                        (double)a->logits[i], (double)b->logits[i]);
        }
    }
    return true;
}

static size_t common_prefix(const struct list *a, const struct list *b)
{
    size_t n = 0;
    while (n < a->n && n < b->n && a->v[n] == b->v[n]) n++;
    return n;
}

/* The reference row from which greedy id i was chosen, or NULL where it is not stored. */
static const float *ref_before(const struct golden *g, const struct seq *s, size_t i)
{
    const struct list *at = i == 0 ? &s->rows : &s->greedy_rows;
    const size_t want = i == 0 ? s->tokens.n - 1 : i - 1;
    for (size_t k = 0; k < at->n; k++) {
        if (at->v[k] == want) return row_of(g, i == 0 ? s->ref : s->greedy_ref, k);
    }
    return NULL;
}

/* May r's greedy id i differ? Where the reference's row is not stored ours stands in. */
static bool may_differ(const struct golden *g, const struct seq *s, const struct run *r, size_t i)
{
    const float *row = ref_before(g, s, i);
    if (!row) row = row_of(g, r->logits, s->tokens.n - 1 + i);
    const uint32_t want = s->greedy.v[i], got = r->ids.v[i];
    const double gap = fabs((double)row[want] - (double)row[got]);
    return gap < g->tol_q8 ||
           fail("greedy id %zu is %u, expected %u, and their logits are %g apart", i, got, want,
                gap);
}

static bool join(const struct list *a, const struct list *b, struct list *out)
{
    if (a->n + b->n > IDS_MAX) return fail("more than %d ids", IDS_MAX);
    *out = *a;
    memcpy(out->v + a->n, b->v, b->n * sizeof b->v[0]);
    out->n += b->n;
    return true;
}

/* ---- modes --------------------------------------------------------------------------------- */

static const char *const no_options[] = {"-t", "1", NULL};

static bool prefill(struct golden *g, size_t i)
{
    const struct seq *s = &g->seq[i];
    const double tol = g->is_f32 ? g->tol_f32 : g->tol_q8;
    return rows_near(g, &g->base[i], &s->rows, 0, IDS_MAX, s->ref, tol,
                     g->is_f32 ? tol : g->tol_rms);
}

static bool decode(struct golden *g, size_t i)
{
    const struct seq *s = &g->seq[i];
    const struct run *r = &g->base[i];
    const size_t n_same = common_prefix(&r->ids, &s->greedy);
    const double tol = g->is_f32 ? g->tol_f32 : g->tol_q8;
    if (!rows_near(g, r, &s->greedy_rows, s->tokens.n, n_same, s->greedy_ref, tol, tol))
        return false;
    if (n_same == s->greedy.n) return true;
    if (g->is_f32)
        return fail("greedy id %zu is %u, expected %u", n_same, r->ids.v[n_same],
                    s->greedy.v[n_same]);
    if (!may_differ(g, s, r, n_same)) return false;
    struct list forced;
    struct run f = {0};
    const bool ok =
        join(&s->tokens, &s->greedy, &forced) && eval(g, &forced, 0, no_options, &f) &&
        rows_near(g, &f, &s->greedy_rows, s->tokens.n, IDS_MAX, s->greedy_ref, tol, tol);
    run_free(&f);
    return ok;
}

static bool threads(struct golden *g, size_t i)
{
    const char *const two[] = {"-t", "2", NULL};
    struct run r = {0};
    const bool ok =
        eval(g, &g->seq[i].tokens, g->seq[i].greedy.n, two, &r) && rows_equal(g, &g->base[i], &r);
    run_free(&r);
    return ok;
}

static bool cuts(struct golden *g, size_t i)
{
    static const char *const pieces[] = {"1", "7", "32"};
    struct run r = {0};
    bool ok = true;
    for (size_t k = 0; ok && k < sizeof pieces / sizeof *pieces; k++) {
        const char *const options[] = {"-t", "2", "-b", pieces[k], NULL};
        ok = eval(g, &g->seq[i].tokens, 0, options, &r) && rows_equal(g, &g->base[i], &r);
        if (!ok) fail_at("-b %s", pieces[k]);
    }
    run_free(&r);
    return ok;
}

static bool replay(struct golden *g, size_t i)
{
    struct list ids;
    struct run r = {0};
    const bool ok = join(&g->seq[i].tokens, &g->base[i].ids, &ids) &&
                    eval(g, &ids, 0, no_options, &r) && rows_equal(g, &g->base[i], &r);
    run_free(&r);
    return ok;
}

static bool mapped(struct golden *g, size_t i)
{
    static const char *const threads[] = {"3", "4"};
    struct run r = {0};
    bool ok = true;
    for (size_t k = 0; ok && k < sizeof threads / sizeof *threads; k++) {
        const char *const options[] = {"-t", threads[k], "--no-repack", NULL};
        ok = eval(g, &g->seq[i].tokens, g->seq[i].greedy.n, options, &r) &&
             rows_equal(g, &g->base[i], &r);
        if (!ok) fail_at("-t %s", threads[k]);
    }
    run_free(&r);
    return ok;
}

static bool act_f32(struct golden *g, size_t i)
{
    const char *const options[] = {"-t", "1", "--act-f32", NULL};
    const struct seq *s = &g->seq[i];
    struct run r = {0};
    bool ok = eval(g, &s->tokens, s->greedy.n, options, &r);
    ok = ok && rows_near(g, &r, &s->rows, 0, IDS_MAX, s->ref, g->tol_f32, g->tol_f32);
    ok = ok && rows_near(g, &r, &s->greedy_rows, s->tokens.n, IDS_MAX, s->greedy_ref, g->tol_f32,
                         g->tol_f32);
    ok = ok && (common_prefix(&r.ids, &s->greedy) == s->greedy.n || fail("greedy ids differ"));
    run_free(&r);
    return ok;
}

static const struct mode {
    const char *name;
    bool (*check)(struct golden *g, size_t i_seq);
    bool quantised_only;
} modes[] = {
    {"prefill", prefill, false}, {"decode", decode, false}, {"threads", threads, false},
    {"cuts", cuts, false},       {"replay", replay, false}, {"mapped", mapped, true},
    {"act-f32", act_f32, true},
};

/* ---- cases --------------------------------------------------------------------------------- */

static bool load_list(const json_t *seq, const char *key, struct list *out)
{
    size_t i;
    const json_t *item;
    const json_t *array = json_object_get(seq, key);
    if (json_array_size(array) > IDS_MAX) return fail("'%s' is longer than %d", key, IDS_MAX);
    out->n = json_array_size(array);
    json_array_foreach(array, i, item) out->v[i] = (uint32_t)json_integer_value(item);
    return out->n > 0 || fail("'%s' is missing", key);
}

static bool load_rows(const struct golden *g, const json_t *seq, const char *key, size_t n_row,
                      float **out)
{
    char path[2 * PATH_BYTES];
    size_t n_bytes = 0;
    const char *name = json_string_value(json_object_get(seq, key));
    if (!name) return fail("'%s' is missing", key);
    snprintf(path, sizeof path, "%s/%s", g->dir, name);
    *out = read_file(path, &n_bytes);
    if (!*out) return false;
    return n_bytes == n_row * g->n_vocab * sizeof(float) || fail("%s has %zu bytes", path, n_bytes);
}

static bool load_seq(const struct golden *g, const json_t *json, struct seq *s)
{
    return load_list(json, "tokens", &s->tokens) && load_list(json, "rows", &s->rows) &&
           load_list(json, "greedy", &s->greedy) &&
           load_list(json, "greedy_rows", &s->greedy_rows) &&
           load_rows(g, json, "ref_logits_file", s->rows.n, &s->ref) &&
           load_rows(g, json, "greedy_ref_logits_file", s->greedy_rows.n, &s->greedy_ref);
}

static bool load_model(struct golden *g)
{
    const json_t *weights = json_object_get(g->json, "weights");
    if (!weights) {
        snprintf(g->model, sizeof g->model, "%.*s/model.gguf", PATH_BYTES - 16, g->dir);
        return true;
    }
    char part[PATH_BYTES + 16];
    snprintf(part, sizeof part, "%s/model.part", g->dir);
    snprintf(g->model, sizeof g->model, "%.*s/model.gguf", PATH_BYTES - 16, scratch);
    return seed_model_write(weights, part, g->model, why, sizeof why);
}

static bool load_case(struct golden *g, const char *dir, const char *name)
{
    char path[PATH_BYTES + 16];
    json_error_t error;
    snprintf(g->dir, sizeof g->dir, "%s/%s", dir, name);
    snprintf(path, sizeof path, "%s/case.json", g->dir);
    g->json = json_load_file(path, 0, &error);
    if (!g->json) return fail("%s: %s", path, error.text);
    const char *quant = json_string_value(json_object_get(g->json, "quant"));
    g->is_f32 = !quant || strcmp(quant, "F32") == 0;
    g->n_vocab = (size_t)json_integer_value(json_object_get(g->json, "n_vocab"));
    g->tol_f32 = json_number_value(json_object_get(g->json, "tol_abs_f32_vs_ref"));
    g->tol_q8 = json_number_value(json_object_get(g->json, "tol_abs_q8act_vs_ref"));
    g->tol_rms = json_number_value(json_object_get(g->json, "tol_rms_q8act_vs_ref"));
    const json_t *seqs = json_object_get(g->json, "sequences");
    g->n_seq = json_array_size(seqs);
    if (g->n_seq == 0 || g->n_seq > SEQS_MAX) return fail("%s: %zu sequences", path, g->n_seq);
    for (size_t i = 0; i < g->n_seq; i++) {
        if (!load_seq(g, json_array_get(seqs, i), &g->seq[i])) return false;
    }
    return load_model(g);
}

static void free_case(struct golden *g)
{
    for (size_t i = 0; i < g->n_seq && i < SEQS_MAX; i++) {
        free(g->seq[i].ref);
        free(g->seq[i].greedy_ref);
        run_free(&g->base[i]);
    }
    json_decref(g->json);
}

static bool run_base(struct golden *g)
{
    for (size_t i = 0; i < g->n_seq; i++) {
        if (!eval(g, &g->seq[i].tokens, g->seq[i].greedy.n, no_options, &g->base[i])) return false;
    }
    return true;
}

static bool run_mode(struct golden *g, const struct mode *mode)
{
    for (size_t i = 0; i < g->n_seq; i++) {
        if (!mode->check(g, i)) return fail_at("sequence %zu", i);
    }
    return true;
}

/* TAP lines of one case; returns the number of failures. */
static size_t run_case(const char *dir, const char *name, size_t *n_test)
{
    struct golden g = {0};
    size_t n_failed = 0;
    const bool ready = load_case(&g, dir, name) && run_base(&g);
    if (!ready) {
        printf("not ok %zu - %s\n# %s\n", ++*n_test, name, why);
        n_failed++;
    }
    for (size_t i = 0; ready && i < sizeof modes / sizeof *modes; i++) {
        if (modes[i].quantised_only && g.is_f32) continue;
        const bool ok = run_mode(&g, &modes[i]);
        printf("%s %zu - %s %s\n", ok ? "ok" : "not ok", ++*n_test, name, modes[i].name);
        if (!ok) printf("# %s\n", why);
        n_failed += !ok;
    }
    free_case(&g);
    fflush(stdout);
    return n_failed;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The cases of dir: folders with a case.json that has causal logits. */
static size_t list_cases(const char *dir, char **names)
{
    size_t n = 0;
    DIR *d = opendir(dir);
    if (!d) return 0;
    for (const struct dirent *e = readdir(d); e && n < CASES_MAX; e = readdir(d)) {
        char path[2 * PATH_BYTES];
        snprintf(path, sizeof path, "%s/%s/case.json", dir, e->d_name);
        json_t *json = json_load_file(path, 0, NULL);
        if (json && !json_is_false(json_object_get(json, "causal"))) names[n++] = strdup(e->d_name);
        json_decref(json);
    }
    closedir(d);
    qsort(names, n, sizeof *names, by_name);
    return n;
}

static void remove_scratch(void)
{
    static const char *const files[] = {"in", "logits", "ids", "log", "model.gguf"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[PATH_BYTES + 16];
        snprintf(path, sizeof path, "%s/%s", scratch, files[i]);
        unlink(path);
    }
    rmdir(scratch);
}

int main(int argc, char **argv)
{
    char *names[CASES_MAX] = {0};
    size_t n_test = 0, n_failed = 0;
    if (argc < 2) {
        fprintf(stderr, "usage: golden DIR [CASE...]\n");
        return 2;
    }
    const char *tmp = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/golden-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(scratch)) {
        printf("Bail out! cannot make %s\n", scratch);
        return 1;
    }
    const size_t n_case = list_cases(argv[1], names);
    if (n_case == 0) printf("1..0 # SKIP no cases in %s\n", argv[1]);
    for (size_t i = 0; i < n_case; i++) {
        bool wanted = argc == 2;
        for (int k = 2; k < argc; k++) wanted = wanted || strcmp(argv[k], names[i]) == 0;
        if (wanted) n_failed += run_case(argv[1], names[i], &n_test);
        free(names[i]);
    }
    if (n_case > 0) printf("1..%zu\n", n_test);
    remove_scratch();
    return n_failed > 0;
}
