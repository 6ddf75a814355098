#include "pool.h"

#include <Python.h>
#include <stdatomic.h>
#include <time.h>
#ifndef _WIN32
#include <signal.h>
#endif
#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define PAUSE() _mm_pause()
#elif defined(__aarch64__) && defined(__GNUC__)
#define PAUSE() __asm__ __volatile__("yield")
#else
#define PAUSE() ((void)0)
#endif

#define MAX_HELPERS 63
#define SPINS 4000         /* pauses, some ten microseconds, in which a helper looks for work before it sleeps */
#define PATIENCE 20e-6     /* seconds that a helper may take longer than the caller did for a part, before it is late */
#define NAP 50             /* microseconds in which the caller leaves its core to a helper that has lost its own */
#define WINDOW 0.001       /* seconds after which the caller looks whether it has lost its own core */
#define TOLERATED 0.1      /* share of the time that may be lost, by that and by waiting for helpers */
#define MOST_LOST 0.002    /* seconds beyond that, before helpers that are late, or else all, ... */
#define SHORTEST_REST 0.02 /* ... are left out for this time, and for twice the time if that happens again soon */
#define LONGEST_REST 1.0

typedef struct {
    PyThread_type_lock bell; /* held while the helper sleeps */
    atomic_int asleep, resting, working;
    double rest, until; /* how long it was left out last, and until when */
    int is_late;
} Helper;

static struct {
    atomic_int n_threads;
    int n_started;
    atomic_flag in_use;
    /* The number of the current work, in the upper half, and of the parts that nobody has taken. Whoever takes one
       knows that the work below stays as it is until that part is done. */
    atomic_ullong open;
    atomic_int done;
    Work work;
    const void *context;
    double lost;             /* seconds lost lately, less what is tolerated */
    double began, cpu_began; /* when the caller began, or was looked at, on the clock of the wall and on its own */
    double used, starved;    /* seconds since helpers were judged, and of them those in which the caller had no core */
    double napped, waited;   /* of them those of naps, and of waiting for helpers that were late */
    PyThread_type_lock nap;  /* always held: waiting for it is sleeping */
    Helper *helpers[MAX_HELPERS];
} pool = {.n_threads = 1, .in_use = ATOMIC_FLAG_INIT};

double now(void) {
    struct timespec t;
#ifdef _WIN32
    timespec_get(&t, TIME_UTC);
#else
    clock_gettime(CLOCK_MONOTONIC, &t);
#endif
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

/* Seconds for which the calling thread has had a core */
static double cpu_time(void) {
#ifdef CLOCK_THREAD_CPUTIME_ID
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
#else
    return now(); /* as if it always had one */
#endif
}

/* Take a part and do it; false if there is none left */
static int do_part(atomic_int *working) {
    unsigned long long open = atomic_load(&pool.open);
    do {
        if ((open & 0xffffffff) == 0) return 0;
        if (working) atomic_store(working, 1);
    } while (!atomic_compare_exchange_weak(&pool.open, &open, open - 1));
    pool.work(pool.context, (int)(open & 0xffffffff) - 1);
    if (working) atomic_store(working, 0);
    atomic_fetch_add(&pool.done, 1);
    return 1;
}

static void help(void *argument) {
    Helper *self = argument;
    for (;;) {
        for (int spins = 0; spins < SPINS; spins++) {
            if (!atomic_load(&self->resting) && do_part(&self->working)) spins = 0;
            atomic_store(&self->working, 0);
            PAUSE();
        }
        atomic_store(&self->asleep, 1);
        if ((atomic_load(&pool.open) & 0xffffffff) && !atomic_load(&self->resting) && atomic_exchange(&self->asleep, 0))
            continue;
        PyThread_acquire_lock(self->bell, WAIT_LOCK); /* until somebody has set `asleep` to 0, and rings */
    }
}

static int start_helper(void) {
    Helper *helper = calloc(1, sizeof *helper);
    if (!helper || !(helper->bell = PyThread_allocate_lock())) return 0;
    PyThread_acquire_lock(helper->bell, WAIT_LOCK);
#ifndef _WIN32
    sigset_t all, before; /* signals are for Python's threads */
    sigfillset(&all), pthread_sigmask(SIG_SETMASK, &all, &before);
#endif
    unsigned long thread = PyThread_start_new_thread(help, helper);
#ifndef _WIN32
    pthread_sigmask(SIG_SETMASK, &before, NULL);
#endif
    if (thread == PYTHREAD_INVALID_THREAD_ID) return 0;
    pool.helpers[pool.n_started++] = helper;
    return 1;
}

void pool_set_threads(int n_threads) { pool.n_threads = n_threads > MAX_HELPERS + 1 ? MAX_HELPERS + 1 : n_threads; }

int pool_get_threads(void) { return pool.n_threads; }

void pool_forget(void) {
    pool.n_started = 0, pool.nap = NULL;
    atomic_store(&pool.open, 0);
    atomic_flag_clear(&pool.in_use);
}

/* Wait until all parts are done, and notice whose come late */
static void wait_for_helpers(int n_parts, double patience) {
    double begun = now();
    for (int spins = 1; atomic_load(&pool.done) < n_parts; spins++) {
        PAUSE();
        if (spins % 64 || now() - begun < patience) continue;
        for (int k = 0; k < pool.n_started; k++) pool.helpers[k]->is_late |= atomic_load(&pool.helpers[k]->working);
        double nap = now();
        PyThread_acquire_lock_timed(pool.nap, NAP, 0);
        pool.napped += now() - nap;
    }
    double waited = now() - begun - patience;
    if (waited > 0) pool.waited += waited;
}

/* Leave out helpers if too much time is lost: those that were late, or all */
static void judge_helpers(double time) {
    double cpu = cpu_time();
    pool.used += time - pool.began, pool.starved += time - pool.began - (cpu - pool.cpu_began);
    pool.began = time, pool.cpu_began = cpu;
    if (pool.used < WINDOW) return;
    double starved = pool.starved - pool.napped;
    pool.lost += pool.waited + (starved > 0 ? starved : 0) - TOLERATED * pool.used;
    pool.used = pool.starved = pool.napped = pool.waited = 0;
    if (pool.lost < 0) pool.lost = 0;
    if (pool.lost < MOST_LOST) return;
    int n_late = 0;
    for (int k = 0; k < pool.n_started; k++) n_late += pool.helpers[k]->is_late;
    for (int k = 0; k < pool.n_started; k++) {
        Helper *helper = pool.helpers[k];
        if (n_late && !helper->is_late) continue;
        int is_soon = time < helper->until + 10 * helper->rest;
        helper->rest = !is_soon ? SHORTEST_REST : helper->rest < LONGEST_REST ? 2 * helper->rest : LONGEST_REST;
        helper->until = time + helper->rest, helper->is_late = 0;
    }
    pool.lost = 0;
}

int pool_acquire(void) {
    int n_threads = pool.n_threads;
    if (n_threads < 2 || atomic_flag_test_and_set(&pool.in_use)) return 1;
    pool.began = now(), pool.cpu_began = cpu_time();
    return n_threads;
}

void pool_release(void) {
    judge_helpers(now());
    atomic_flag_clear(&pool.in_use);
}

void pool_share(Work work, const void *context, int n_parts) {
    if (!pool.nap && (pool.nap = PyThread_allocate_lock())) PyThread_acquire_lock(pool.nap, WAIT_LOCK);
    while (pool.n_started < pool.n_threads - 1)
        if (!pool.nap || !start_helper()) pool.n_threads = pool.n_started + 1;
    double begun = now();
    int helpers = 0;
    for (int k = 0; k < pool.n_started; k++) {
        Helper *helper = pool.helpers[k];
        atomic_store(&helper->resting, k + 1 >= pool.n_threads || begun < helper->until);
        helpers += !atomic_load(&helper->resting);
    }
    if (!helpers || n_parts < 2) {
        for (int part = 0; part < n_parts; part++) work(context, part);
        return;
    }
    pool.work = work, pool.context = context;
    atomic_store(&pool.done, 0);
    unsigned long long number = (atomic_load(&pool.open) >> 32) + 1;
    atomic_store(&pool.open, number << 32 | (unsigned)n_parts);
    for (int k = 0; k < pool.n_started; k++) {
        Helper *helper = pool.helpers[k];
        if (!atomic_load(&helper->resting) && atomic_load(&helper->asleep) && atomic_exchange(&helper->asleep, 0))
            PyThread_release_lock(helper->bell);
    }
    int own = 0;
    while (do_part(NULL)) own++;
    double part = (now() - begun) / (own ? own : 1);
    wait_for_helpers(n_parts, PATIENCE + part);
    double ended = now();
    if (ended - pool.began > WINDOW) judge_helpers(ended);
}
