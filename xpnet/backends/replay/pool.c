#include <Python.h> /* first: it says which of the system's functions there are */

#include "mode.h"
#include "pool.h"

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

#define SPINS 4000       /* pauses, some ten microseconds, in which a helper looks for work before it sleeps */
#define PATIENCE 20e-6   /* seconds that a helper may take longer than the caller did for a part, before that sleeps */
#define NAP 50           /* microseconds of sleep, which leave the core to a helper that has lost its own */
#define WINDOW 0.01      /* seconds of rounds, at least, whose mean is taken */
#define SHORTEST_REST 1  /* windows from one trial of another number of threads to the next; ... */
#define LONGEST_REST 128 /* ... twice as many after each trial or change, up to this, unless a choice had lasted */

typedef struct {
    PyThread_type_lock bell; /* held while the helper sleeps */
    atomic_int asleep;
    atomic_int home; /* the part from which on it looks for one to do, or -1 if it is left out */
} Helper;

static struct {
    atomic_int n_threads;
    int n_started;
    atomic_flag in_use;
    /* A bit for each part that nobody has taken. Whoever takes one knows that the work below stays as it is until that
       part is done. */
    atomic_ullong open;
    atomic_int done;
    Work work;
    const void *context;
    uint32_t mode;          /* in which the caller computes */
    PyThread_type_lock nap; /* always held: waiting for it is sleeping */
    Helper *helpers[MAX_THREADS - 1];
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

/* Take the first part from `home` on that nobody has, and do it; false if there is none left. So a thread gets the same
   parts in each round, and finds in its core's cache what it wrote there in the last one. */
static int do_part(int home) {
    unsigned long long open = atomic_load(&pool.open);
    int part;
    do {
        if (!open) return 0;
        for (part = home; !(open >> part & 1);) part = (part + 1) % MAX_THREADS;
    } while (!atomic_compare_exchange_weak(&pool.open, &open, open & ~(1ull << part)));
    set_mode(pool.mode);
    pool.work(pool.context, part);
    atomic_fetch_add(&pool.done, 1);
    return 1;
}

static void help(void *argument) {
    Helper *self = argument;
    for (;;) {
        for (int spins = 0; spins < SPINS; spins++) {
            int home = atomic_load(&self->home);
            if (home >= 0 && do_part(home)) spins = 0;
            PAUSE();
        }
        atomic_store(&self->asleep, 1);
        if (atomic_load(&pool.open) && atomic_load(&self->home) >= 0 && atomic_exchange(&self->asleep, 0)) continue;
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

void pool_set_threads(int n_threads) { pool.n_threads = n_threads > MAX_THREADS ? MAX_THREADS : n_threads; }

int pool_get_threads(void) { return pool.n_threads; }

void pool_forget(void) {
    pool.n_started = 0, pool.nap = NULL;
    atomic_store(&pool.open, 0);
    atomic_flag_clear(&pool.in_use);
}

int pool_acquire(Pace *pace) {
    int most = pool.n_threads;
    if (most < 2 || atomic_flag_test_and_set(&pool.in_use)) return 0;
    if (pace->most != most) *pace = (Pace){.most = most, .rest = SHORTEST_REST};
    return most >> pace->level;
}

void pool_release(void) { atomic_flag_clear(&pool.in_use); }

int pool_choose(Pace *self, double seconds) {
    self->seconds += seconds, self->rounds++;
    if (self->seconds < WINDOW) return self->most >> self->level;
    double mean = self->seconds / self->rounds, *known = &self->means[self->level];
    *known = *known && !self->is_trial ? 0.75 * *known + 0.25 * mean : mean;
    self->seconds = 0, self->rounds = 0, self->since++, self->held++;
    int fastest = self->level;
    for (int level = 0; self->most >> level; level++)
        if (self->means[level] && self->means[level] < self->means[fastest]) fastest = level;
    int is_same = fastest == self->level;
    if (self->is_trial || !is_same) {
        int lasted = !self->is_trial && self->held > self->rest;
        self->rest = lasted ? SHORTEST_REST : self->rest < LONGEST_REST ? 2 * self->rest : LONGEST_REST;
        if (self->is_trial == is_same) self->held = 0; /* another choice */
        self->is_trial = 0, self->since = 0;
    } else if (self->since >= self->rest) {
        self->is_trial = 1, self->goes_up ^= 1;
        fastest += fastest > 0 && (self->goes_up || self->most >> (fastest + 1) == 0) ? -1 : 1;
    }
    self->level = fastest;
    return self->most >> self->level;
}

/* Wait until all parts are done, in naps if that takes long */
static void wait_for_helpers(int n_parts, double patience) {
    double begun = now();
    for (int spins = 1; atomic_load(&pool.done) < n_parts; spins++) {
        PAUSE();
        if (spins % 64 == 0 && now() - begun > patience) PyThread_acquire_lock_timed(pool.nap, NAP, 0);
    }
}

void pool_share(Work work, const void *context, int n_parts, int n_threads) {
    if (!pool.nap && (pool.nap = PyThread_allocate_lock())) PyThread_acquire_lock(pool.nap, WAIT_LOCK);
    while (pool.n_started < n_threads - 1)
        if (!pool.nap || !start_helper()) pool.n_threads = n_threads = pool.n_started + 1;
    double begun = now();
    pool.work = work, pool.context = context, pool.mode = get_mode();
    atomic_store(&pool.done, 0);
    for (int k = 0; k < pool.n_started; k++)
        atomic_store(&pool.helpers[k]->home, k + 1 < n_threads ? (k + 1) * n_parts / n_threads : -1);
    atomic_store(&pool.open, n_parts < MAX_THREADS ? (1ull << n_parts) - 1 : ~0ull);
    for (int k = 0; k < n_threads - 1; k++) {
        Helper *helper = pool.helpers[k];
        if (atomic_load(&helper->asleep) && atomic_exchange(&helper->asleep, 0)) PyThread_release_lock(helper->bell);
    }
    int own = 0;
    while (do_part(0)) own++;
    wait_for_helpers(n_parts, PATIENCE + (now() - begun) / (own ? own : 1));
}
