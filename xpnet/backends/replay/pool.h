/* A few threads that help with work that is cut into parts, and that may come and go.

   Whoever asks for help takes parts itself, too, so nothing waits for a helper that has not begun. A helper that is
   seen to be slow with a part, because another program has its core, is left out for a while. What the parts compute
   must not depend on who computes them. */

typedef void (*Work)(const void *context, int part);

/* Let up to this many threads work, the caller's included; the helpers start with the first work */
void pool_set_threads(int n_threads);
int pool_get_threads(void);

/* In a forked process, which has no helpers */
void pool_forget(void);

/* Use the pool from now on; return the number of its threads, or 1 if it has no helpers or serves another thread. */
int pool_acquire(void);
void pool_release(void);

/* Do all parts of some work, in any order, and return when they are done; only after `pool_acquire` */
void pool_share(Work work, const void *context, int n_parts);

/* Seconds, from some beginning */
double now(void);
