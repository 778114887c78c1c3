/*
 * crew.c: several answers, one pass over the weights.
 *
 * A job waits, is prefilled, writes, and is over. The oldest is prefilled first, and beside it
 * those that fit the same piece and have no prefix to gain from each other. A timeline keeps what
 * its last job left until another one needs the place. There is one more than jobs, so that prompts
 * of two kinds in turn do not push each other out.
 *
 * Recurrent models can only go back to checkpoints, and a prefill leaves one before its last token.
 * So where a prompt is known to share a prefix with another one, it is prefilled up to the end of
 * that first, and the others start from there.
 */
#include "crew.h"

#include "base/limits.h"
#include "base/mem.h"
#include "base/os.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define SEATS_DEFAULT 8    /* beyond that a CPU's decode gains little */
#define MEMORY_SHARE 4     /* a quarter of the free memory may become caches */
#define SPARE 1            /* timelines beyond the jobs */
#define CHECKPOINT_GAIN 32 /* tokens: a shorter prefix is not worth an extra step */

static_assert(CREW_SEATS_MAX + SPARE == SEQS_MAX, "every seat is a timeline");

enum job_state { JOB_NONE, JOB_WAITS, JOB_PREFILLS, JOB_WRITES };

struct job {
    enum job_state state;
    uint64_t tag, number; /* number: jobs start in this order */
    struct gen *gen;
    uint32_t *ids; /* (n_ctx) the prompt, then the answer */
    uint32_t n_ids, n_prompt, n_cached;
    /* from JOB_PREFILLS on */
    uint32_t at;     /* its timeline */
    uint32_t n_done; /* tokens of the prompt that are there */
    uint32_t split;  /* recurrent models: the prompt is cut here; 0: nowhere */
    uint64_t start_ns;
    bool cancelled;
};

struct timeline {
    struct session *s;
    bool busy;
    uint64_t used; /* number of its last job; 0: none yet */
    uint32_t *ids; /* (n_ids) recurrent models: the prompt of its last job; NULL: none */
    uint32_t n_ids;
};

struct crew {
    struct engine *e;
    struct crew_opts o;
    uint32_t n_job, n_timeline;
    uint32_t n_ctx, n_batch;
    bool is_recurrent;
    struct timeline *timeline; /* (n_timeline) */
    struct job *job;           /* (n_job) */
    uint64_t n_number;
    bool in_turn;
    struct crew_stats stats;
};

static struct session *session_of(const struct crew *c, const struct job *j)
{
    assert(j->state == JOB_PREFILLS || j->state == JOB_WRITES);
    return c->timeline[j->at].s;
}

/* ---- open and close -------------------------------------------------------------------------- */

uint32_t crew_seats_for(uint64_t free_bytes, uint64_t timeline_bytes)
{
    const uint64_t n = free_bytes / MEMORY_SHARE / (timeline_bytes + 1);
    if (n <= SPARE + 1) return 1;
    return n - SPARE < SEATS_DEFAULT ? (uint32_t)n - SPARE : SEATS_DEFAULT;
}

uint32_t crew_n_session(uint32_t n_seat)
{
    return (n_seat ? n_seat : 1) + SPARE;
}

static enum err open_timelines(struct crew *c)
{
    struct session_opts so = c->o.session;
    struct session *first = NULL;
    enum err err = session_new(&first, c->e, &so);
    if (err) return err;
    c->n_job = c->o.n_seat
                   ? c->o.n_seat
                   : crew_seats_for(os_memory().free_bytes, session_stats(first).full_bytes);
    c->n_timeline = crew_n_session(c->n_job);
    c->n_ctx = session_n_ctx(first);
    c->n_batch = session_n_batch(first);
    c->timeline = mem_alloc_array(MEM_MISC, c->n_timeline, sizeof *c->timeline);
    c->job = mem_alloc_array(MEM_MISC, c->n_job, sizeof *c->job);
    if (!c->timeline || !c->job) {
        session_free(first);
        return ERR_MEMORY;
    }
    c->timeline[0].s = first;
    so.beside = first;
    for (uint32_t i = 1; i < c->n_timeline && err == OK; i++)
        err = session_new(&c->timeline[i].s, c->e, &so);
    return err;
}

enum err crew_open(struct crew **out, struct engine *e, const struct crew_opts *o)
{
    assert(out);
    assert(o->on_done);
    assert(!o->session.beside);
    *out = NULL;
    if (o->n_seat > CREW_SEATS_MAX)
        return err_set(ERR_USAGE, "--parallel: %u answers at a time, expected at most %u",
                       o->n_seat, CREW_SEATS_MAX);
    struct crew *c = mem_alloc(MEM_MISC, sizeof *c);
    if (!c) return ERR_MEMORY;
    c->e = e;
    c->o = *o;
    c->is_recurrent = engine_info(e)->is_recurrent;
    const enum err err = open_timelines(c);
    if (err)
        crew_close(c);
    else
        *out = c;
    return err;
}

static void job_fini(struct job *j)
{
    gen_close(j->gen);
    mem_free(j->ids);
    *j = (struct job){0};
}

void crew_close(struct crew *c)
{
    if (!c) return;
    for (uint32_t i = 0; c->job && i < c->n_job; i++) job_fini(&c->job[i]);
    for (uint32_t i = 0; c->timeline && i < c->n_timeline; i++) {
        session_free(c->timeline[i].s);
        mem_free(c->timeline[i].ids);
    }
    mem_free(c->timeline);
    mem_free(c->job);
    mem_free(c);
}

/* ---- jobs ------------------------------------------------------------------------------------ */

enum err crew_add(struct crew *c, const struct crew_job *job)
{
    assert(c);
    assert(job->n_ids >= 1);
    enum err err = session_check(c->timeline[0].s, job->ids, job->n_ids);
    if (err) return err;
    uint32_t i = 0;
    while (i < c->n_job && c->job[i].state != JOB_NONE) i++;
    if (i == c->n_job) return ERR_AGAIN;
    struct job *const j = &c->job[i];
    err = gen_open(&j->gen, c->e, &job->gen, job->ids, job->n_ids);
    if (err) return err;
    j->ids = mem_alloc_array(MEM_MISC, c->n_ctx, sizeof *j->ids);
    if (!j->ids) {
        job_fini(j);
        return ERR_MEMORY;
    }
    memcpy(j->ids, job->ids, job->n_ids * sizeof *j->ids);
    j->n_ids = j->n_prompt = (uint32_t)job->n_ids;
    j->tag = job->tag;
    j->number = ++c->n_number;
    j->state = JOB_WAITS;
    return OK;
}

static void hand_out(const struct crew *c, const struct job *j, const char *text, size_t n)
{
    if (n && c->o.on_text) c->o.on_text(c->o.ctx, j->tag, text, n);
}

/* The job is over: its timeline stays as it is, its place is free before the caller hears of it. */
static void finish(struct crew *c, struct job *j, enum err err)
{
    const uint64_t now = os_time_ns(), first = gen_first_ns(j->gen);
    char message[ERR_MSG_BYTES_MAX] = ""; /* the caller may fail at something else */
    if (err) snprintf(message, sizeof message, "%s", err_msg());
    const struct crew_result r = {
        .tag = j->tag,
        .err = err,
        .message = message,
        .cancelled = gen_finish(j->gen) == GEN_CANCELLED,
        .finish = gen_finish(j->gen),
        .n_prompt = j->n_prompt,
        .n_cached = j->n_cached,
        .n_completion = gen_n_tokens(j->gen),
        .prefill_ns = j->start_ns ? (first ? first : now) - j->start_ns : 0,
        .decode_ns = first ? now - first : 0,
    };
    if (j->state == JOB_PREFILLS || j->state == JOB_WRITES) {
        struct timeline *const t = &c->timeline[j->at];
        t->busy = false;
        mem_free(t->ids);
        t->ids = c->is_recurrent ? j->ids : NULL;
        t->n_ids = j->n_prompt;
        if (t->ids) j->ids = NULL;
    }
    job_fini(j);
    c->o.on_done(c->o.ctx, &r);
}

static void cancel(struct crew *c, struct job *j)
{
    const char *text;
    size_t n;
    gen_cut(j->gen, GEN_CANCELLED, &text, &n);
    hand_out(c, j, text, n);
    finish(c, j, OK);
}

void crew_cancel(struct crew *c, uint64_t tag)
{
    assert(c);
    for (uint32_t i = 0; i < c->n_job; i++) {
        struct job *const j = &c->job[i];
        if (j->state == JOB_NONE || j->tag != tag || j->cancelled) continue;
        j->cancelled = true;
        if (!c->in_turn) cancel(c, j); /* otherwise at the end of the turn */
        return;
    }
}

/* Between the parts of a turn: what callbacks have cancelled. */
static void cancel_marked(struct crew *c)
{
    for (uint32_t i = 0; i < c->n_job; i++)
        if (c->job[i].state != JOB_NONE && c->job[i].cancelled) cancel(c, &c->job[i]);
}

/* ---- taking a timeline ----------------------------------------------------------------------- */

static uint32_t common_prefix(const uint32_t *a, uint32_t n_a, const uint32_t *b, uint32_t n_b)
{
    uint32_t n = 0;
    while (n < n_a && n < n_b && a[n] == b[n]) n++;
    return n;
}

struct offer { /* the timeline with the most of a prompt */
    uint32_t at;
    uint32_t n; /* tokens; 0: none has anything of it */
};

static struct offer best_offer(const struct crew *c, const struct job *j)
{
    struct offer best = {0};
    for (uint32_t i = 0; i < c->n_timeline; i++) {
        const size_t n = session_reusable(c->timeline[i].s, j->ids, j->n_prompt);
        if (n > best.n) best = (struct offer){i, (uint32_t)n};
    }
    return best;
}

/* The free timeline that was left first. */
static uint32_t oldest_free(const struct crew *c)
{
    uint32_t best = UINT32_MAX;
    for (uint32_t i = 0; i < c->n_timeline; i++)
        if (!c->timeline[i].busy &&
            (best == UINT32_MAX || c->timeline[i].used < c->timeline[best].used))
            best = i;
    assert(best != UINT32_MAX); /* there are fewer jobs */
    return best;
}

/* Where other prompts, of jobs that wait and of jobs that were, part from this one. */
static uint32_t shared_prefix(const struct crew *c, const struct job *j)
{
    uint32_t most = 0;
    for (uint32_t i = 0; i < c->n_job; i++) {
        const struct job *const w = &c->job[i];
        if (w == j || w->state != JOB_WAITS) continue;
        const uint32_t n = common_prefix(j->ids, j->n_prompt, w->ids, w->n_prompt);
        if (n > most) most = n;
    }
    for (uint32_t i = 0; i < c->n_timeline; i++) {
        const struct timeline *const t = &c->timeline[i];
        if (!t->ids) continue;
        const uint32_t n = common_prefix(j->ids, j->n_prompt, t->ids, t->n_ids);
        if (n > most) most = n;
    }
    return most;
}

/* A timeline is taken as it is when the job goes on from its end; otherwise the prefix is copied,
 * so that a timeline which others may go on from stays. */
static enum err start(struct crew *c, struct job *j, struct offer offer)
{
    assert(j->state == JOB_WAITS);
    const struct timeline *const from = &c->timeline[offer.at];
    const bool goes_on = offer.n && !from->busy && offer.n == session_pos(from->s);
    const uint32_t to = goes_on ? offer.at : oldest_free(c);
    struct timeline *const t = &c->timeline[to];
    if (to != offer.at && offer.n > session_reusable(t->s, j->ids, j->n_prompt)) {
        const enum err err = session_fork(t->s, from->s, offer.n);
        if (err) return err;
    }
    j->at = to;
    j->n_done = j->n_cached = (uint32_t)session_reusable(t->s, j->ids, j->n_prompt);
    /* A checkpoint comes before the last token of a piece. */
    const uint32_t split = c->is_recurrent ? shared_prefix(c, j) + 1 : 0;
    j->split = split > j->n_done + CHECKPOINT_GAIN && split < j->n_prompt ? split : 0;
    j->state = JOB_PREFILLS;
    j->start_ns = os_time_ns();
    t->busy = true;
    t->used = j->number;
    c->stats.n_cached += j->n_cached;
    return OK;
}

static struct job *oldest(const struct crew *c, enum job_state state)
{
    struct job *best = NULL;
    for (uint32_t i = 0; i < c->n_job; i++)
        if (c->job[i].state == state && (!best || c->job[i].number < best->number))
            best = &c->job[i];
    return best;
}

/* ---- what both halves of a turn do ----------------------------------------------------------- */

/* The next token of a job whose logits are there. */
static void pick(struct crew *c, struct job *j)
{
    const char *text;
    size_t n;
    uint32_t id;
    enum gen_finish why = gen_pick(j->gen, session_logits(session_of(c, j)), &id, &text, &n);
    hand_out(c, j, text, n);
    if (why == GEN_GOING && j->n_ids == c->n_ctx) {
        gen_cut(j->gen, GEN_CONTEXT, &text, &n);
        hand_out(c, j, text, n);
        why = GEN_CONTEXT;
    }
    if (why != GEN_GOING)
        finish(c, j, OK);
    else
        j->ids[j->n_ids++] = id;
}

/* True: the failure is this job's own, and it is over. */
static bool own_failure(struct crew *c, struct job *j, enum err err)
{
    if (err != ERR_RUN || engine_broken(c->e)) return false;
    finish(c, j, err);
    return true;
}

/* ---- prefill --------------------------------------------------------------------------------- */

struct piece { /* what one turn prefills */
    struct job *job[SEQS_MAX];
    struct session_want want[SEQS_MAX];
    uint32_t n, n_token;
};

static void piece_add(const struct crew *c, struct piece *p, struct job *j, uint32_t to)
{
    p->job[p->n] = j;
    p->want[p->n++] = (struct session_want){.s = session_of(c, j), .tokens = j->ids, .n = to};
    p->n_token += to - j->n_done;
}

/* A job that waits would find more of its prompt after this piece than before it. */
static bool gains(const struct piece *p, const struct job *j, uint32_t n_now)
{
    for (uint32_t i = 0; i < p->n; i++)
        if (common_prefix(j->ids, j->n_prompt, p->want[i].tokens, (uint32_t)p->want[i].n) >
            n_now + CHECKPOINT_GAIN)
            return true;
    return false;
}

/* Where the piece of the oldest job ends. */
static uint32_t piece_end(const struct crew *c, const struct job *j)
{
    const uint32_t end = j->split > j->n_done ? j->split : j->n_prompt;
    return end - j->n_done > c->n_batch ? j->n_done + c->n_batch : end;
}

/* The oldest job, and beside it, when its prompt ends here, the next ones as long as they fit. */
static enum err fill_piece(struct crew *c, struct piece *p)
{
    struct job *j = oldest(c, JOB_PREFILLS);
    if (!j) {
        j = oldest(c, JOB_WAITS);
        if (!j) return OK;
        const enum err err = start(c, j, best_offer(c, j));
        if (err) return err;
    }
    piece_add(c, p, j, piece_end(c, j));
    if (p->want[0].n < j->n_prompt || c->is_recurrent) return OK;
    while ((j = oldest(c, JOB_WAITS))) {
        const struct offer offer = best_offer(c, j);
        if (p->n_token + j->n_prompt - offer.n > c->n_batch || gains(p, j, offer.n)) break;
        const enum err err = start(c, j, offer);
        if (err) return err;
        piece_add(c, p, j, j->n_prompt);
    }
    return OK;
}

/* A job's part of the piece is there. */
static void prefilled(struct crew *c, struct job *j, uint32_t to)
{
    c->stats.n_prefill += to - j->n_done;
    j->n_done = to;
    if (to < j->n_prompt) return;
    j->state = JOB_WRITES;
    pick(c, j);
}

/* One job of the piece fails: alone, each finds out whether it is the one. */
static enum err prefill_alone(struct crew *c, const struct piece *p)
{
    for (uint32_t i = 0; i < p->n; i++) {
        const enum err err = session_sync_many(&p->want[i], 1);
        if (err == OK)
            prefilled(c, p->job[i], (uint32_t)p->want[i].n);
        else if (!own_failure(c, p->job[i], err))
            return err;
    }
    return OK;
}

static enum err prefill(struct crew *c)
{
    struct piece p = {0};
    enum err err = fill_piece(c, &p);
    if (err || p.n == 0) return err;
    const uint64_t t0 = os_time_ns();
    err = session_sync_many(p.want, p.n);
    c->stats.prefill_ns += os_time_ns() - t0;
    if (err == ERR_RUN) return prefill_alone(c, &p);
    for (uint32_t i = 0; i < p.n && err == OK; i++) prefilled(c, p.job[i], (uint32_t)p.want[i].n);
    return err;
}

/* Jobs that are to write nothing. */
static void finish_idle(struct crew *c)
{
    for (uint32_t i = 0; i < c->n_job; i++)
        if (c->job[i].state == JOB_WAITS && gen_finish(c->job[i].gen) != GEN_GOING)
            finish(c, &c->job[i], OK);
}

/* ---- decode ---------------------------------------------------------------------------------- */

/* One of the jobs cannot be stepped: alone, each finds out whether it is the one. */
static enum err step_alone(struct crew *c, struct job *const *j, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const enum err err = session_sync(session_of(c, j[i]), j[i]->ids, j[i]->n_ids);
        if (err == OK)
            pick(c, j[i]);
        else if (!own_failure(c, j[i], err))
            return err;
    }
    return OK;
}

static enum err write_tokens(struct crew *c)
{
    struct job *j[SEQS_MAX];
    struct session *s[SEQS_MAX];
    uint32_t token[SEQS_MAX], n = 0;
    for (uint32_t i = 0; i < c->n_job; i++) {
        if (c->job[i].state != JOB_WRITES) continue;
        j[n] = &c->job[i];
        s[n] = session_of(c, j[n]);
        token[n] = j[n]->ids[j[n]->n_ids - 1];
        n++;
    }
    if (n == 0) return OK;
    const uint64_t t0 = os_time_ns();
    const enum err err = session_step_many(s, token, n);
    c->stats.decode_ns += os_time_ns() - t0;
    if (err == ERR_RUN && !engine_broken(c->e)) return step_alone(c, j, n);
    if (err) return err;
    c->stats.n_decode += n;
    for (uint32_t i = 0; i < n; i++) pick(c, j[i]);
    return OK;
}

/* ---- a turn ---------------------------------------------------------------------------------- */

enum err crew_turn(struct crew *c)
{
    assert(c);
    assert(!c->in_turn);
    if (os_interrupted()) return err_set(ERR_INTR, "interrupted");
    c->in_turn = true;
    enum err err = write_tokens(c);
    if (err == OK) {
        cancel_marked(c);
        finish_idle(c);
        err = prefill(c);
    }
    c->in_turn = false;
    if (err == OK) cancel_marked(c); /* otherwise its message stays the last one */
    return err;
}

/* ---- facts ----------------------------------------------------------------------------------- */

uint32_t crew_n_seat(const struct crew *c)
{
    return c->n_job;
}

uint32_t crew_n_busy(const struct crew *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n_job; i++) n += c->job[i].state != JOB_NONE;
    return n;
}

uint32_t crew_n_free(const struct crew *c)
{
    return c->n_job - crew_n_busy(c);
}

uint32_t crew_n_ctx(const struct crew *c)
{
    return c->n_ctx;
}

struct crew_stats crew_stats(const struct crew *c)
{
    return c->stats;
}
