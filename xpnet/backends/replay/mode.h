/* The mode in which the calling thread computes: whether subnormal numbers are flushed to zero, operands and results.
   Arithmetic with them takes a hundred cycles and more on some processors. Where a processor is none of those below,
   there is one mode. */

#include <stdint.h>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define FLUSH 0x8040u
static inline uint64_t read_register(void) { return _mm_getcsr(); }
static inline void write_register(uint64_t bits) { _mm_setcsr((uint32_t)bits); }
#elif defined(__aarch64__) && defined(__GNUC__)
#define FLUSH (1u << 24)
static inline uint64_t read_register(void) {
    uint64_t bits;
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(bits));
    return bits;
}
static inline void write_register(uint64_t bits) { __asm__ __volatile__("msr fpcr, %0" : : "r"(bits) : "memory"); }
#elif defined(_M_ARM64)
#include <intrin.h>
#define FLUSH (1u << 24)
static inline uint64_t read_register(void) { return _ReadStatusReg(ARM64_FPCR); }
static inline void write_register(uint64_t bits) { _WriteStatusReg(ARM64_FPCR, bits); }
#else
#define FLUSH 0u
static inline uint64_t read_register(void) { return 0; }
static inline void write_register(uint64_t bits) { (void)bits; }
#endif

/* FLUSH or 0, or one half of it if somebody has set that */
static inline uint32_t get_mode(void) { return (uint32_t)read_register() & FLUSH; }
static inline void set_mode(uint32_t mode) { write_register((read_register() & ~(uint64_t)FLUSH) | (mode & FLUSH)); }
