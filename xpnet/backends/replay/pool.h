/* A few threads that help with work that is cut into parts, and that may come and go.

   Whoever asks for help takes parts itself, too, so nothing waits for a helper that has not begun. How many help is
   measured: helpers whose cores other programs have may cost more than they bring. What the parts compute must not
   depend on who computes them. */

#define MAX_THREADS 64
#define LEVELS 7 /* each with half the threads of the one before */

typedef void (*Work)(const void *context, int part);

/* How long rounds of some work take with all threads, half of them, and so on to one */
typedef struct {
    int most, level;               /* threads of level 0, and the level of the next round */
    int is_trial, goes_up;         /* whether this is one that was not the fastest, and with more threads */
    int since, held, rest;         /* windows since a trial, since another choice, and from one trial to the next */
    int rounds;                    /* of a window that has not ended, ... */
    double seconds, means[LEVELS]; /* ... and their time; and the mean time of a round, 0 if it is not known */
} Pace;

/* Let up to this many threads work, the caller's included; the helpers start with the first work */
void pool_set_threads(int n_threads);
int pool_get_threads(void);

/* In a forked process, which has no helpers */
void pool_forget(void);

/* Use the pool from now on, for rounds of this pace; return the number of threads for the first one, or 0 if there are
   no helpers, or they serve another thread */
int pool_acquire(Pace *pace);
void pool_release(void);

/* Count a round, and return the number of threads for the next one: that which has been the fastest lately, or now and
   then twice or half as many, to see */
int pool_choose(Pace *pace, double seconds);

/* Let threads do all parts of some work, MAX_THREADS at most, in any order, and return when they are done; only after
   `pool_acquire` */
void pool_share(Work work, const void *context, int n_parts, int n_threads);

/* Seconds, from some beginning */
double now(void);
