/*
 * test_weights.c: which matrices of a graph are packed and where to, that each row comes back as it
 * was, and that failures leave everything as it was.
 *
 * Operations are made by hand over weights in memory or in a file of their own.
 */
#include "tests/unit/test_cpu.h"

#include "base/asan.h"
#include "base/os.h"
#include "gguf/gguf_write.h"
#include "offload/weights.h"
#include "tests/unit/temp_dir.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct temp_dir dir;
static struct kern ref;
static struct gguf *in_memory; /* one large tensor, in which tests lay out weights of theirs */
static uint8_t *image;
static uint8_t *room; /* of that tensor */
static size_t n_taken;

#define ROOM_BYTES (8u << 20)

static const enum dtype packed_types[] = {DT_Q4_0,  DT_Q4_1,   DT_Q5_0,  DT_Q5_1, DT_Q8_0,
                                          DT_Q2_K,  DT_Q3_K,   DT_Q4_K,  DT_Q5_K, DT_Q6_K,
                                          DT_MXFP4, DT_IQ4_NL, DT_IQ4_XS};
#define N_TYPE (sizeof packed_types / sizeof packed_types[0])

static int setup(void **state)
{
    (void)state;
    size_t n_bytes;
    struct gguf_writer *w;
    kern_init(&ref, 0);
    if (!temp_dir_make(&dir) || gguf_write_open(&w, 0)) return -1;
    gguf_write_str(w, "general.architecture", "none");
    gguf_write_tensor(w, "room", DT_F32, 1, (const uint64_t[]){ROOM_BYTES / sizeof(float)}, NULL);
    if (gguf_write_image(w, &image, &n_bytes)) return -1;
    gguf_write_close(w);
    if (gguf_open_mem(&in_memory, image, n_bytes, "memory")) return -1;
    room = image + ((const uint8_t *)gguf_tensor(in_memory, "room")->data - image);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gguf_close(in_memory);
    mem_free(image);
    temp_dir_remove(&dir);
    return mem_used_total() == 0 ? 0 : -1;
}

/* new_weights() in that model, at an odd address; until forget_weights(). */
static struct tensor weights_in(struct rnd *r, enum dtype type, uint64_t n_in, uint64_t n_out,
                                uint64_t n_plane)
{
    const struct tensor made = new_weights(r, &ref, type, n_in, n_out, n_plane);
    struct tensor t = made;
    n_taken |= 1;
    assert_true(tensor_bytes(&t) <= ROOM_BYTES - n_taken);
    t.data = memcpy(room + n_taken, made.data, tensor_bytes(&t));
    n_taken += tensor_bytes(&t);
    free_weights(&made);
    return t;
}

static void forget_weights(void)
{
    n_taken = 0;
}

/* Some rows of each plane. */
static struct tensor rows_of(const struct tensor *t, uint64_t first, uint64_t n)
{
    struct tensor part = *t;
    part.data = (const uint8_t *)t->data + first * t->row_bytes;
    part.ne[1] = n;
    return part;
}

static struct gop op_mul(const struct tensor *w)
{
    struct gop op = {.kind = GOP_MUL, .n_out = 1};
    op.w[0] = *w;
    return op;
}

static struct gop op_heads(const struct tensor *w, bool transposed)
{
    struct gop op = {.kind = GOP_MUL_HEADS, .n_out = 1};
    op.w[0] = *w;
    op.u.heads.n_head = (uint32_t)w->ne[2];
    op.u.heads.transposed = transposed;
    return op;
}

static struct gop op_embed(const struct tensor *w)
{
    struct gop op = {.kind = GOP_EMBED, .n_out = 1};
    op.w[0] = *w;
    return op;
}

static enum err pack(struct weights *w, const struct gguf *file, uint32_t n_thread)
{
    struct pool *pool;
    assert_int_equal(pool_open(&pool, n_thread), OK);
    const enum err err = weights_pack(w, &(struct weights_from){.file = file, .pool = pool});
    pool_close(pool);
    return err;
}

static struct weights *pack_all(struct graph *g, uint32_t n_thread)
{
    struct weights *w;
    assert_int_equal(weights_open(&w, g), OK);
    assert_int_equal(pack(w, in_memory, n_thread), OK);
    weights_bind(w, g);
    return w;
}

/* Is t packed, and are its rows those of `was`? */
static void assert_packed(const struct tensor *t, const struct tensor *was)
{
    uint8_t row[1024];
    assert_true(t->is_packed);
    assert_ptr_not_equal(t->data, was->data);
    assert_int_equal((uintptr_t)t->data % MEM_ALIGN, 0);
    assert_int_equal(t->plane_bytes % MEM_ALIGN, 0);
    assert_int_equal(t->type, was->type);
    assert_int_equal(t->row_bytes, was->row_bytes);
    assert_memory_equal(t->ne, was->ne, sizeof t->ne);
    assert_true(t->row_bytes <= sizeof row);
    for (uint64_t p = 0; p < t->ne[2]; p++) {
        for (uint64_t r = 0; r < t->ne[1]; r++) {
            pack_get_row(t->type, (const uint8_t *)t->data + p * t->plane_bytes, t->ne[1], t->ne[0],
                         r, row);
            assert_memory_equal(
                row, (const uint8_t *)was->data + p * was->plane_bytes + r * was->row_bytes,
                t->row_bytes);
        }
    }
}

static void assert_mapped(const struct tensor *t, const struct tensor *was)
{
    assert_false(t->is_packed);
    assert_ptr_equal(t->data, was->data);
    assert_int_equal(t->plane_bytes, was->plane_bytes);
}

/* ---- what is packed -------------------------------------------------------------------------- */

static void every_type_and_any_number_of_rows(void **state)
{
    (void)state;
    static const uint64_t n_rows[] = {1, 15, 16, 17, 33, 160};
    struct rnd r = {1};
    for (size_t i = 0; i < N_TYPE; i++) {
        for (size_t j = 0; j < sizeof n_rows / sizeof *n_rows; j++) {
            const struct tensor a = weights_in(&r, packed_types[i], 256, n_rows[j], 1);
            const struct tensor b = weights_in(&r, packed_types[i], 512, n_rows[j], 3);
            struct gop op[] = {op_mul(&a), op_heads(&b, false)};
            struct graph g = {.op = op, .n_op = 2};
            struct weights *w = pack_all(&g, 1 + (uint32_t)j % 4);
            assert_packed(&op[0].w[0], &a);
            assert_packed(&op[1].w[0], &b);
            assert_true(weights_bytes(w) >= tensor_bytes(&a) + tensor_bytes(&b));
            assert_int_equal(mem_used(MEM_WEIGHTS), weights_bytes(w));
            weights_close(w);
            assert_int_equal(mem_used(MEM_WEIGHTS), 0);
            forget_weights();
        }
    }
}

/* Rows longer than a strip, and a matrix of many strips, some threads more than tasks. */
static void large_matrices(void **state)
{
    (void)state;
    struct rnd r = {2};
    const struct tensor small = weights_in(&r, DT_Q4_0, 256, 20011, 1);
    struct tensor wide = weights_in(&r, DT_Q8_0, 32, 20000, 1);
    wide.ne[0] = 32 * 500; /* the same bytes as 40 rows of 17 kB: a tile is larger than a strip */
    wide.ne[1] = 40;
    wide.row_bytes *= 500;
    struct gop op[] = {op_mul(&small), op_mul(&wide)};
    struct graph g = {.op = op, .n_op = 2};
    for (uint32_t n_thread = 1; n_thread <= 4; n_thread++) {
        struct gop again[] = {op[0], op[1]};
        struct graph h = {.op = again, .n_op = 2};
        struct weights *w = pack_all(&h, n_thread);
        assert_packed(&again[0].w[0], &small);
        uint8_t *const row = mem_alloc(MEM_MISC, wide.row_bytes);
        for (uint64_t i = 0; i < wide.ne[1]; i++) {
            pack_get_row(DT_Q8_0, again[1].w[0].data, wide.ne[1], wide.ne[0], i, row);
            assert_memory_equal(row, (const uint8_t *)wide.data + i * wide.row_bytes,
                                wide.row_bytes);
        }
        mem_free(row);
        weights_close(w);
    }
    assert_mapped(&g.op[0].w[0], &small);
    forget_weights();
}

/* Gate and up as halves of a tensor, no half beginning at a tile of the whole; MLA's K and V. */
static void views_of_one_tensor_are_packed_apart(void **state)
{
    (void)state;
    struct rnd r = {3};
    const struct tensor both = weights_in(&r, DT_Q4_K, 256, 2 * 24, 5);
    const struct tensor down = weights_in(&r, DT_Q6_K, 256, 40, 5);
    const struct tensor kv = weights_in(&r, DT_Q8_0, 64, 20 + 12, 4);
    const struct tensor gate = rows_of(&both, 0, 24), up = rows_of(&both, 24, 24);
    const struct tensor k = rows_of(&kv, 0, 20), v = rows_of(&kv, 20, 12);
    struct gop op[] = {{.kind = GOP_MOE, .n_out = 1}, op_heads(&k, true), op_heads(&v, false)};
    op[0].u.moe.gate = gate;
    op[0].u.moe.up = up;
    op[0].u.moe.down = down;
    struct graph g = {.op = op, .n_op = 3};
    struct weights *w = pack_all(&g, 2);
    assert_packed(&op[0].u.moe.gate, &gate);
    assert_packed(&op[0].u.moe.up, &up);
    assert_packed(&op[0].u.moe.down, &down);
    assert_mapped(&op[1].w[0], &k);
    assert_packed(&op[2].w[0], &v);
    weights_close(w);
    forget_weights();
}

static void what_several_operations_share_is_packed_once(void **state)
{
    (void)state;
    struct rnd r = {4};
    const struct tensor a = weights_in(&r, DT_Q8_0, 64, 50, 1);
    struct gop op[] = {op_embed(&a), op_mul(&a), op_mul(&a), op_mul(&a)};
    op[2].w[1] = op[2].w[2] = a;
    op[2].n_out = 3;
    struct gop later[] = {op[0], op[3]};
    struct graph g = {.op = op, .n_op = 4}, h = {.op = later, .n_op = 2};
    struct weights *w = pack_all(&g, 1);
    assert_packed(&op[0].w[0], &a); /* an embedding that is also the head */
    for (size_t i = 1; i < 4; i++)
        for (uint32_t j = 0; j < op[i].n_out; j++)
            assert_ptr_equal(op[i].w[j].data, op[0].w[0].data);
    assert_int_equal(weights_bytes(w), (tensor_bytes(&a) + MEM_ALIGN - 1) / MEM_ALIGN * MEM_ALIGN);
    weights_bind(w, &g); /* once more changes nothing */
    assert_packed(&op[3].w[0], &a);
    weights_bind(w, &h); /* another graph of the same model */
    assert_packed(&later[0].w[0], &a);
    assert_ptr_equal(later[1].w[0].data, op[0].w[0].data);
    weights_close(w);
    forget_weights();
}

/* ---- what is not ----------------------------------------------------------------------------- */

static void what_is_read_by_rows_stays(void **state)
{
    (void)state;
    static const enum dtype plain[] = {DT_F32, DT_F16, DT_BF16};
    struct rnd r = {5};
    struct tensor t[7];
    for (size_t i = 0; i < 3; i++) t[i] = weights_in(&r, plain[i], 64, 32, 1);
    for (size_t i = 3; i < 7; i++) t[i] = weights_in(&r, DT_Q8_0, 64, 32, 2);
    t[6].ne[0] = 32; /* the first columns: rows are not dense */
    struct gop op[] = {op_mul(&t[0]),   op_mul(&t[1]),          op_mul(&t[2]),
                       op_embed(&t[3]), op_heads(&t[4], true),  op_heads(&t[5], true),
                       op_mul(&t[6]),   op_heads(&t[5], false), {.kind = GOP_ADD}};
    struct graph g = {.op = op, .n_op = 9};
    struct weights *w = pack_all(&g, 1);
    assert_int_equal(weights_bytes(w), 0);
    assert_int_equal(mem_used(MEM_WEIGHTS), 0);
    for (size_t i = 0; i < 7; i++) assert_mapped(&op[i].w[0], &t[i]);
    assert_mapped(&op[7].w[0], &t[5]);
    weights_close(w);
    forget_weights();
}

static void nothing_is_bound_before_packing(void **state)
{
    (void)state;
    struct rnd r = {6};
    const struct tensor a = weights_in(&r, DT_Q4_0, 64, 32, 1);
    struct gop op[] = {op_mul(&a)};
    struct graph g = {.op = op, .n_op = 1};
    struct weights *w;
    assert_int_equal(weights_open(&w, &g), OK);
    assert_int_equal(weights_bytes(w), tensor_bytes(&a));
    weights_bind(w, &g);
    assert_mapped(&op[0].w[0], &a);
    weights_close(w);
    weights_close(NULL);
    forget_weights();
}

static void memory_that_is_refused(void **state)
{
    (void)state;
    struct rnd r = {7};
    const struct tensor a = weights_in(&r, DT_Q4_0, 64, 32, 1);
    struct gop op[] = {op_mul(&a)};
    struct graph g = {.op = op, .n_op = 1};
    struct pool *pool;
    assert_int_equal(pool_open(&pool, 1), OK);
    for (uint64_t n = 1; n <= 5; n++) {
        struct weights *w;
        mem_fail_at(n);
        enum err err = weights_open(&w, &g);
        assert_int_equal(err, n <= 2 ? ERR_MEMORY : OK);
        const struct weights_from from = {.file = in_memory, .pool = pool};
        if (err == OK) {
            err = weights_pack(w, &from);
            assert_int_equal(err, n <= 4 ? ERR_MEMORY : OK);
            weights_bind(w, &g);
            assert_int_equal(op[0].w[0].is_packed, n == 5);
            if (n < 5) assert_int_equal(weights_pack(w, &from), OK); /* it can be tried again */
        }
        mem_fail_at(0);
        weights_close(w);
    }
    pool_close(pool);
    forget_weights();
}

/* ---- from a file ----------------------------------------------------------------------------- */

enum { FILE_K = 4096, FILE_ROWS = 1024, N_VIEW = 60 };

/* A file with one tensor of 4.5 MB, and that many views of it that share most of their rows: work
 * for several pieces. */
static struct gguf *open_views(struct gop op[N_VIEW])
{
    struct rnd r = {8};
    struct gguf_writer *w;
    struct gguf *file;
    struct tensor t = new_weights(&r, &ref, DT_Q8_0, FILE_K, FILE_ROWS, 1);
    assert_int_equal(gguf_write_open(&w, 0), OK);
    gguf_write_str(w, "general.architecture", "none");
    gguf_write_tensor(w, "w", t.type, 2, t.ne, t.data);
    assert_int_equal(gguf_write_file(w, temp_path(&dir, "views.gguf")), OK);
    gguf_write_close(w);
    free_weights(&t);
    assert_int_equal(gguf_open(&file, temp_path(&dir, "views.gguf")), OK);
    for (uint64_t i = 0; i < N_VIEW; i++) {
        t = rows_of(gguf_tensor(file, "w"), i, FILE_ROWS - N_VIEW);
        op[i] = op_mul(&t);
    }
    return file;
}

struct seen {
    uint64_t n_call, n_done, n_total;
    bool interrupts, cuts_file;
};

static void on_progress(void *ctx, uint64_t n_done, uint64_t n_total)
{
    struct seen *s = ctx;
    assert_true(n_done > s->n_done);
    assert_true(n_done <= n_total);
    s->n_call++;
    s->n_done = n_done;
    s->n_total = n_total;
    if (s->interrupts) raise(SIGINT);
    if (s->cuts_file) assert_int_equal(truncate(temp_path(&dir, "views.gguf"), 1 << 20), 0);
}

static enum err pack_views(const struct gop views[N_VIEW], const struct gguf *file, struct seen *s)
{
    struct gop op[N_VIEW];
    memcpy(op, views, sizeof op);
    struct graph g = {.op = op, .n_op = N_VIEW};
    struct weights *w;
    struct pool *pool;
    assert_int_equal(weights_open(&w, &g), OK);
    assert_int_equal(pool_open(&pool, 2), OK);
    const enum err err = weights_pack(
        w,
        &(struct weights_from){.file = file, .pool = pool, .on_progress = on_progress, .ctx = s});
    assert_true(err ? weights_left(w) > 0 : weights_left(w) == 0);
    weights_bind(w, &g);
    assert_int_equal(op[N_VIEW - 1].w[0].is_packed, err == OK);
    for (uint64_t i = 0; i < N_VIEW && err == OK; i += 7) {
        const struct tensor *const t = &op[i].w[0];
        const struct tensor *const was = gguf_tensor(file, "w");
        uint8_t row[FILE_K * 2];
        for (uint64_t j = 0; j < t->ne[1]; j += 5) {
            pack_get_row(t->type, t->data, t->ne[1], t->ne[0], j, row);
            assert_memory_equal(row, (const uint8_t *)was->data + (i + j) * was->row_bytes,
                                was->row_bytes);
        }
    }
    pool_close(pool);
    weights_close(w);
    assert_int_equal(mem_used(MEM_WEIGHTS), 0);
    return err;
}

static void progress_is_told(void **state)
{
    (void)state;
    struct gop op[N_VIEW];
    struct seen s = {0};
    struct gguf *file = open_views(op);
    assert_int_equal(pack_views(op, file, &s), OK);
    assert_true(s.n_call >= 3);
    assert_int_equal(s.n_done, s.n_total);
    gguf_close(file);
}

static void an_interrupt_ends_it(void **state)
{
    (void)state;
    struct gop op[N_VIEW];
    struct seen s = {.interrupts = true};
    struct gguf *file = open_views(op);
    os_init();
    assert_int_equal(pack_views(op, file, &s), ERR_INTR);
    assert_int_equal(s.n_call, 1);
    os_interrupt_clear();
    s = (struct seen){0};
    assert_int_equal(pack_views(op, file, &s), OK);
    gguf_close(file);
}

/* Each call ends with a matrix, and what is not packed yet can be used as it is. An interrupt may
 * cut one. */
static void part_by_part(void **state)
{
    (void)state;
    struct gop op[N_VIEW], was[N_VIEW];
    struct gguf *const file = open_views(op);
    struct graph g = {.op = op, .n_op = N_VIEW};
    struct weights *w;
    struct pool *pool;
    struct seen s = {0};
    struct weights_from from = {.file = file, .on_progress = on_progress, .ctx = &s};
    memcpy(was, op, sizeof op);
    os_init();
    assert_int_equal(weights_open(&w, &g), OK);
    assert_int_equal(pool_open(&pool, 2), OK);
    from.pool = pool;
    const uint64_t each = weights_bytes(w) / N_VIEW;
    const uint64_t n_more[] = {1, each, each + 1, 20 * each, 0};
    const size_t n_packed[] = {1, 2, 4, 24, N_VIEW};
    for (size_t i = 0; i < sizeof n_more / sizeof *n_more; i++) {
        from.n_bytes_more = n_more[i];
        if (i == 3) {
            s.interrupts = true;
            assert_int_equal(weights_pack(w, &from), ERR_INTR);
            s.interrupts = false;
            os_interrupt_clear();
            assert_int_not_equal((weights_bytes(w) - weights_left(w)) % each, 0);
            weights_bind(w, &g);
            from.n_bytes_more = (n_packed[i] - 1) * each + 1 - (weights_bytes(w) - weights_left(w));
        }
        assert_int_equal(weights_pack(w, &from), OK);
        assert_int_equal(weights_left(w), weights_bytes(w) - n_packed[i] * each);
        assert_int_equal(s.n_done, n_packed[i] * each);
        weights_bind(w, &g);
        for (size_t j = 0; j < N_VIEW; j++) {
            assert_ptr_equal(tensor_rows(&op[j].w[0]), was[j].w[0].data);
            if (j >= n_packed[i])
                assert_mapped(&op[j].w[0], &was[j].w[0]);
            else
                assert_true(op[j].w[0].is_packed);
        }
    }
    for (size_t j = 0; j < N_VIEW; j++) {
        uint8_t row[FILE_K * 2];
        const struct tensor *const t = &op[j].w[0], *const rows = &was[j].w[0];
        for (uint64_t r = j % 50; r < t->ne[1]; r += 50) {
            pack_get_row(t->type, t->data, t->ne[1], t->ne[0], r, row);
            assert_memory_equal(row, (const uint8_t *)rows->data + r * rows->row_bytes,
                                rows->row_bytes);
        }
    }
    assert_int_equal(weights_pack(w, &from), OK); /* nothing is left */
    pool_close(pool);
    weights_close(w);
    gguf_close(file);
}

static void a_file_that_shrinks_meanwhile(void **state)
{
    (void)state;
    struct gop op[N_VIEW];
    struct seen s = {.cuts_file = true};
    struct gguf *file = open_views(op);
    assert_int_equal(pack_views(op, file, &s), ERR_RUN);
    assert_int_equal(s.n_call, 1);
    assert_non_null(strstr(err_msg(), "views.gguf: the file became shorter"));
    assert_true(gguf_broken(file));
    gguf_close(file);
}

enum { N_NORM = 500 };

/* Two matrices, a norm between them, and a large tensor that nothing packs. */
static struct gguf *open_mixed(const char *path)
{
    struct gguf_writer *w;
    struct gguf *file;
    uint8_t *norm = malloc(N_NORM * sizeof(float));
    assert_int_equal(gguf_write_open(&w, 0), OK);
    gguf_write_str(w, "general.architecture", "none");
    gguf_write_tensor(w, "w", DT_Q8_0, 2, (const uint64_t[]){4096, 2048}, NULL);
    memset(norm, 1, N_NORM * sizeof(float));
    gguf_write_tensor(w, "norm", DT_F32, 1, (const uint64_t[]){N_NORM}, norm);
    gguf_write_tensor(w, "v", DT_Q8_0, 2, (const uint64_t[]){4096, 32}, NULL);
    gguf_write_tensor(w, "large", DT_F32, 1, (const uint64_t[]){2 << 20}, NULL);
    assert_int_equal(gguf_write_file(w, path), OK);
    gguf_write_close(w);
    free(norm);
    assert_int_equal(gguf_open(&file, path), OK);
    return file;
}

/* And follow the file no more. Large ones stay the file's. */
static void small_tensors_become_memory(void **state)
{
    (void)state;
    struct weights *w;
    const char *const path = temp_path(&dir, "mixed.gguf");
    struct gguf *const file = open_mixed(path);
    const struct tensor *const large = gguf_tensor(file, "large");
    const struct tensor *const norm = gguf_tensor(file, "norm");
    const struct tensor *const v = gguf_tensor(file, "v");
    const struct tensor half = rows_of(v, 16, 16);
    struct gop op[] = {op_mul(gguf_tensor(file, "w")), op_mul(&half)};
    struct graph g = {.op = op, .n_op = 2};
    assert_int_equal(weights_open(&w, &g), OK);
    assert_int_equal(pack(w, file, 2), OK);

    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    uint8_t *const noise = malloc((size_t)st.st_size);
    memset(noise, 0xee, (size_t)st.st_size);
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, noise, (size_t)st.st_size, 0), st.st_size);
    close(fd);
    for (size_t i = 0; i < N_NORM * sizeof(float); i++)
        assert_int_equal(((const uint8_t *)norm->data)[i], 1);
    assert_int_equal(((const uint8_t *)large->data)[tensor_bytes(large) / 2], 0xee);
    assert_int_equal(((const uint8_t *)v->data)[tensor_bytes(v) / 2], 0xee);
    free(noise);
    weights_close(w);
    gguf_close(file);
}

/* The matrix is all there. */
static void a_file_that_shrank_before(void **state)
{
    (void)state;
    struct weights *w;
    const char *const path = temp_path(&dir, "shrank.gguf");
    struct gguf *const file = open_mixed(path);
    struct gop op[] = {op_mul(gguf_tensor(file, "w"))};
    struct graph g = {.op = op, .n_op = 1};
    assert_int_equal(weights_open(&w, &g), OK);
    const struct tensor *const norm = gguf_tensor(file, "norm");
    const struct tensor *const large = gguf_tensor(file, "large"); /* at the end */
    const uint8_t *const end = (const uint8_t *)large->data + tensor_bytes(large);
    const ptrdiff_t n_cut = end - (const uint8_t *)norm->data;
    assert_int_equal(truncate(path, (off_t)gguf_file_bytes(file) - n_cut), 0);
    assert_int_equal(pack(w, file, 1), ERR_RUN);
    assert_non_null(strstr(err_msg(), "shrank.gguf: the file became shorter"));
    weights_close(w);
    assert_int_equal(mem_used(MEM_WEIGHTS), 0);
    gguf_close(file);
}

static void look_through(const struct tensor *t)
{
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < tensor_bytes(t); i += 1024) sum ^= ((const uint8_t *)t->data)[i];
}

static uint64_t resident_bytes(void)
{
    unsigned long n_page = 0;
    FILE *const f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%*u %lu", &n_page) != 1) _exit(5);
    fclose(f);
    return (uint64_t)n_page * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* What the mapping would add if it were read through. late: it is, before packing and, what is not
 * packed by then, once more halfway. */
static void child_packs(bool late)
{
    struct gguf *file;
    struct weights *w;
    struct pool *pool;
    if (pool_open(&pool, 2)) _exit(1);
    const uint64_t before = resident_bytes(), peak_before = os_rss_peak_bytes();
    if (gguf_open(&file, temp_path(&dir, "large.gguf"))) _exit(1);
    const struct tensor *const t = gguf_tensor(file, "w"), *const v = gguf_tensor(file, "v");
    struct gop op[] = {op_mul(t), op_mul(v)};
    struct graph g = {.op = op, .n_op = 2};
    struct weights_from from = {.file = file, .pool = pool, .n_bytes_more = late};
    if (late) look_through(t);
    if (late) look_through(v);
    if (weights_open(&w, &g) || weights_pack(w, &from)) _exit(2);
    if ((weights_left(w) > 0) != late) _exit(3);
    if (late) look_through(v);
    if (weights_pack(w, &from)) _exit(2);
    const uint64_t most = weights_bytes(w) + (6u << 20);
    const uint64_t grown = resident_bytes() - before, peak = os_rss_peak_bytes() - peak_before;
    if (grown < weights_bytes(w)) _exit(3); /* else this measures nothing */
    if (grown > most) _exit(4);
    _exit(peak <= most + (late ? tensor_bytes(v) : 0) ? 0 : 6);
}

static void memory_never_holds_a_matrix_twice(void **state)
{
    (void)state;
    if (BASE_ASAN || os_rss_peak_bytes() == 0) skip();
    struct gguf_writer *writer;
    assert_int_equal(gguf_write_open(&writer, 0), OK);
    gguf_write_str(writer, "general.architecture", "none");
    gguf_write_tensor(writer, "w", DT_Q8_0, 2, (const uint64_t[]){4096, 4096}, NULL);
    gguf_write_tensor(writer, "v", DT_Q8_0, 2, (const uint64_t[]){4096, 4096}, NULL);
    assert_int_equal(gguf_write_file(writer, temp_path(&dir, "large.gguf")), OK);
    gguf_write_close(writer);
    for (int late = 0; late < 2; late++) {
        const pid_t pid = fork();
        if (pid == 0) child_packs(late);
        int status = -1;
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_and_any_number_of_rows),
        cmocka_unit_test(large_matrices),
        cmocka_unit_test(views_of_one_tensor_are_packed_apart),
        cmocka_unit_test(what_several_operations_share_is_packed_once),
        cmocka_unit_test(what_is_read_by_rows_stays),
        cmocka_unit_test(nothing_is_bound_before_packing),
        cmocka_unit_test(memory_that_is_refused),
        cmocka_unit_test(progress_is_told),
        cmocka_unit_test(an_interrupt_ends_it),
        cmocka_unit_test(part_by_part),
        cmocka_unit_test(a_file_that_shrinks_meanwhile),
        cmocka_unit_test(small_tensors_become_memory),
        cmocka_unit_test(a_file_that_shrank_before),
        cmocka_unit_test(memory_never_holds_a_matrix_twice),
    };
    cmocka_set_message_output(CM_OUTPUT_TAP);
    return cmocka_run_group_tests(tests, setup, teardown);
}
