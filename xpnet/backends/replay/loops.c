/* Recorded operations on NumPy arrays, run without Python between them.

   An `Operations` object is a list of instructions. An instruction is an inner loop with the memory that it walks over:
   one of NumPy's own, taken from the ufunc, so that every bit is NumPy's, or one of the few below that copy, convert,
   choose, and add up short rows. What has no instruction stays a Python call in its place.

   All addresses and steps are computed here, from arrays whose shapes, dtypes and alignment are checked, and the object
   keeps the arrays alive. A method returns False, and adds nothing, for an operation that it cannot express. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#define NPY_TARGET_VERSION NPY_2_0_API_VERSION
#include <fenv.h>
#include <math.h>
#include <numpy/arrayobject.h>
#include <numpy/ufuncobject.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "mode.h"
#include "pool.h"

#ifdef __GNUC__
#define PREFETCH(address) __builtin_prefetch(address)
#else
#define PREFETCH(address) ((void)(address))
#endif

#define MAX_AXES 5
#define MAX_ARRAYS 8
#define MAX_CORE 4
/* elements: a run of elementwise loops goes over its arrays in pieces that stay in the cache. A multiple of those that
   any vector loop takes at once, so that each is computed as in the whole array */
#define TILE 2048
#define AHEAD 2               /* rows: before one is taken, the memory is asked for the beginning of a later one, ... */
#define AHEAD_BYTES 1024      /* ... which is this long */
#define LISTEN 0.01           /* seconds from one look for signals to the next */
#define SHORT_ROW 512         /* bytes: in shorter ones, NumPy's loops take longer to begin than ours to end */
#define SHARED_ELEMENTS 30000 /* of all loops of a run: shorter ones are not shared */

typedef struct {
    PyUFuncGenericFunction loop; /* NULL for a Python call */
    void *data;
    PyObject *call;
    int n_arrays, n_outer;
    char *start[MAX_ARRAYS];
    npy_intp item_size[MAX_ARRAYS];
    npy_intp sizes[1 + MAX_CORE];   /* of the inner axis, then of the core dimensions or the rows, as loops take them */
    npy_intp steps[MAX_ARRAYS * 3]; /* along the inner axis, then along the core dimensions of each array, or rows */
    npy_intp outer_sizes[MAX_AXES]; /* of the axes around it */
    npy_intp outer_steps[MAX_AXES][MAX_ARRAYS];
    char *low[MAX_ARRAYS], *high[MAX_ARRAYS]; /* where the arrays are in memory */
    int is_dense;                             /* whether the output, the last of them, fills that */
    int is_elementwise;  /* it may run tile by tile: then one axis at most is around the inner one, that of its rows */
    int is_exact;        /* each element is the same however the arrays are cut */
    char symbol;         /* of floating-point numbers, if updates below have it */
    npy_intp unit;       /* a product may be computed in pieces of a multiple of these rows; 0: only as a whole */
    Py_ssize_t together; /* how many instructions from here on run tile by tile */
    PyArrayObject *target; /* of `take`; NULL for other operations */
    int is_numbered;
} Instruction;

typedef struct {
    PyObject_HEAD Instruction *code;
    Py_ssize_t length, capacity, run; /* `run` is the first instruction of the last run of tiles */
    PyObject *kept;                   /* arrays and calls */
    atomic_int is_busy;
    int has_shares; /* whether threads may share a product: in steps without, what they gain is lost between caches */
    Pace pace;
} Operations;

/* Inner loops of our own */

#define COPY_LOOP(name, type)                                                                                          \
    static void name(char **start, const npy_intp *sizes, const npy_intp *steps, void *data) {                         \
        char *from = start[0], *to = start[1];                                                                         \
        if (steps[0] == sizeof(type) && steps[1] == sizeof(type)) {                                                    \
            memmove(to, from, sizes[0] * sizeof(type));                                                                \
            return;                                                                                                    \
        }                                                                                                              \
        for (npy_intp k = 0; k < sizes[0]; k++, from += steps[0], to += steps[1]) *(type *)to = *(type *)from;         \
    }
COPY_LOOP(copy_1, uint8_t)
COPY_LOOP(copy_4, uint32_t)
COPY_LOOP(copy_8, uint64_t)

#define CONVERT_LOOP(from_type, to_type)                                                                               \
    static void from_type##_to_##to_type(char **start, const npy_intp *sizes, const npy_intp *steps, void *data) {     \
        char *from = start[0], *to = start[1];                                                                         \
        if (steps[0] == sizeof(from_type) && steps[1] == sizeof(to_type)) /* the compiler has instructions for it */   \
            for (npy_intp k = 0; k < sizes[0]; k++) ((to_type *)to)[k] = (to_type)((from_type *)from)[k];              \
        else                                                                                                           \
            for (npy_intp k = 0; k < sizes[0]; k++, from += steps[0], to += steps[1])                                  \
                *(to_type *)to = (to_type) * (from_type *)from;                                                        \
    }
#define CONVERT_LOOPS(from_type) CONVERT_LOOP(from_type, npy_float) CONVERT_LOOP(from_type, npy_double)
CONVERT_LOOPS(npy_bool)
CONVERT_LOOPS(npy_ubyte)
CONVERT_LOOPS(npy_int)
CONVERT_LOOPS(npy_uint)
CONVERT_LOOPS(npy_longlong)
CONVERT_LOOP(npy_float, npy_double)
CONVERT_LOOP(npy_double, npy_float)

#define CHOOSE_LOOP(name, type)                                                                                        \
    static void name(char **start, const npy_intp *sizes, const npy_intp *steps, void *data) {                         \
        char *condition = start[0], *x = start[1], *y = start[2], *to = start[3];                                      \
        for (npy_intp k = 0; k < sizes[0]; k++) {                                                                      \
            *(type *)to = *condition ? *(type *)x : *(type *)y;                                                        \
            condition += steps[0], x += steps[1], y += steps[2], to += steps[3];                                       \
        }                                                                                                              \
    }
CHOOSE_LOOP(choose_1, uint8_t)
CHOOSE_LOOP(choose_4, uint32_t)
CHOOSE_LOOP(choose_8, uint64_t)

/* Exact operations on short rows. The number of rows, and the steps from one to the next, follow those along a row. */
#define ROWS_LOOP(name, type, symbol)                                                                                  \
    static void name##_##type(char **start, const npy_intp *sizes, const npy_intp *steps, void *data) {                \
        for (npy_intp row = 0; row < sizes[1]; row++) {                                                                \
            type *x = (type *)(start[0] + row * steps[3]), *y = (type *)(start[1] + row * steps[4]);                   \
            type *to = (type *)(start[2] + row * steps[5]);                                                            \
            if (steps[1])                                                                                              \
                for (npy_intp k = 0; k < sizes[0]; k++) to[k] = x[k] symbol y[k];                                      \
            else {                                                                                                     \
                const type number = *y;                                                                                \
                for (npy_intp k = 0; k < sizes[0]; k++) to[k] = x[k] symbol number;                                    \
            }                                                                                                          \
        }                                                                                                              \
    }
#define ROWS_LOOPS(name, symbol) ROWS_LOOP(name, npy_float, symbol) ROWS_LOOP(name, npy_double, symbol)
ROWS_LOOPS(add, +)
ROWS_LOOPS(subtract, -)
ROWS_LOOPS(multiply, *)
ROWS_LOOPS(divide, /)

static PyUFuncGenericFunction find_rows_loop(const char *ufunc, int type) {
#define FINDS(name)                                                                                                    \
    if (!strcmp(ufunc, #name))                                                                                         \
        return type == NPY_FLOAT ? name##_npy_float : type == NPY_DOUBLE ? name##_npy_double : NULL;
    FINDS(add)
    FINDS(subtract)
    FINDS(multiply)
    FINDS(divide)
    return NULL;
}

/* Updates: what optimizers compute, in one loop each, as the results that only the next operators read need no memory.
   Every operator rounds by itself, as in NumPy. */
#define UPDATE_LOOPS(type, root, name, target)                                                                         \
    target static void adam_##name(char **start, const npy_intp *sizes, const npy_intp *steps, void *data) {           \
        type *restrict m = (type *)start[0], *restrict s = (type *)start[1], *restrict w = (type *)start[2];           \
        const type *restrict g = (type *)start[3];                                                                     \
        const type b = *(type *)start[4], c = *(type *)start[5], e = *(type *)start[6], l = *(type *)start[7];         \
        for (npy_intp k = 0; k < sizes[0]; k++) {                                                                      \
            m[k] = m[k] * b + g[k];                                                                                    \
            s[k] = s[k] * c + g[k] * g[k];                                                                             \
            w[k] = w[k] - l * m[k] / (root(s[k]) + e);                                                                 \
        }                                                                                                              \
    }                                                                                                                  \
    target static void momentum_##name(char **start, const npy_intp *sizes, const npy_intp *steps, void *data) {       \
        type *restrict v = (type *)start[0], *restrict w = (type *)start[1];                                           \
        const type *restrict g = (type *)start[2], b = *(type *)start[3], l = *(type *)start[4];                       \
        for (npy_intp k = 0; k < sizes[0]; k++) {                                                                      \
            v[k] = v[k] * b - g[k] * l;                                                                                \
            w[k] = w[k] + v[k];                                                                                        \
        }                                                                                                              \
    }
#if defined(__GNUC__) && defined(__x86_64__) /* twice as fast on some processors */
#define WIDE __attribute__((target("avx2")))
#define HAS_WIDE (__builtin_cpu_supports("avx2") != 0)
#else
#define WIDE
#define HAS_WIDE 0
#endif
UPDATE_LOOPS(npy_float, sqrtf, float, )
UPDATE_LOOPS(npy_double, sqrt, double, )
UPDATE_LOOPS(npy_float, sqrtf, wide_float, WIDE)
UPDATE_LOOPS(npy_double, sqrt, wide_double, WIDE)

/* The operators that an update stands for, each with the letters of its operands and its result: small ones for arrays,
   capitals for numbers. `slots` are those that the loop is given, and the first of them those that it writes. */
static const struct Update {
    const char *operators, *slots;
    int n_written;
    PyUFuncGenericFunction loops[2][2];
} updates[] = {
    {"*mBm +mgm *sCs *ggg +sgs ^s.r +rEr *Lmd /drd -wdw ",
     "mswgBCEL",
     3,
     {{adam_float, adam_double}, {adam_wide_float, adam_wide_double}}},
    {"*gLg *vBv -vgv +wvw ",
     "vwgBL",
     2,
     {{momentum_float, momentum_double}, {momentum_wide_float, momentum_wide_double}}},
};

static char find_symbol(const char *ufunc, PyArrayObject *x) {
    static const char *const known[] = {"*multiply", "+add", "-subtract", "/divide", "^sqrt"};
    for (size_t k = 0; k < sizeof known / sizeof *known; k++)
        if (!strcmp(known[k] + 1, ufunc) && (PyArray_TYPE(x) == NPY_FLOAT || PyArray_TYPE(x) == NPY_DOUBLE))
            return *known[k];
    return 0;
}

static PyUFuncGenericFunction find_copy_loop(npy_intp item_size) {
    return item_size == 1 ? copy_1 : item_size == 4 ? copy_4 : item_size == 8 ? copy_8 : NULL;
}

static PyUFuncGenericFunction find_choose_loop(npy_intp item_size) {
    return item_size == 1 ? choose_1 : item_size == 4 ? choose_4 : item_size == 8 ? choose_8 : NULL;
}

static PyUFuncGenericFunction find_convert_loop(int from, int to) {
#define CONVERTS(type, number)                                                                                         \
    if (from == number) return to == NPY_FLOAT ? type##_to_npy_float : to == NPY_DOUBLE ? type##_to_npy_double : NULL;
    CONVERTS(npy_bool, NPY_BOOL)
    CONVERTS(npy_ubyte, NPY_UBYTE)
    CONVERTS(npy_int, NPY_INT)
    CONVERTS(npy_uint, NPY_UINT)
    CONVERTS(npy_longlong, NPY_LONGLONG)
    if (NPY_SIZEOF_LONG == 8) CONVERTS(npy_longlong, NPY_LONG)
    if (from == NPY_FLOAT && to == NPY_DOUBLE) return npy_float_to_npy_double;
    if (from == NPY_DOUBLE && to == NPY_FLOAT) return npy_double_to_npy_float;
    return NULL;
}

/* The inner loop of a ufunc for exactly these dtypes */
static PyUFuncGenericFunction find_ufunc_loop(PyUFuncObject *ufunc, PyArrayObject **arrays, void **data) {
    for (int i = 0; i < ufunc->ntypes; i++) {
        int k = 0;
        while (k < ufunc->nargs && ufunc->types[i * ufunc->nargs + k] == PyArray_TYPE(arrays[k])) k++;
        if (k == ufunc->nargs) {
            *data = ufunc->data ? (void *)ufunc->data[i] : NULL;
            return ufunc->functions[i];
        }
    }
    return NULL;
}

/* Where an array is in memory: from *low up to, not including, *high */
static void find_extent(PyArrayObject *x, char **low, char **high) {
    *low = PyArray_BYTES(x), *high = PyArray_BYTES(x) + PyArray_ITEMSIZE(x);
    for (int axis = 0; axis < PyArray_NDIM(x); axis++) {
        npy_intp length = PyArray_DIM(x, axis);
        npy_intp reach = length ? PyArray_STRIDE(x, axis) * (length - 1) : 0;
        *(reach < 0 ? low : high) += reach;
    }
}

static int overlap(PyArrayObject *x, PyArrayObject *y) {
    char *low_x, *high_x, *low_y, *high_y;
    find_extent(x, &low_x, &high_x), find_extent(y, &low_y, &high_y);
    return low_x < high_y && low_y < high_x;
}

/* Whether two arrays have the same elements in the same places */
static int coincide(PyArrayObject *x, PyArrayObject *y) {
    int n = PyArray_NDIM(x);
    return PyArray_BYTES(x) == PyArray_BYTES(y) && n == PyArray_NDIM(y) && PyArray_TYPE(x) == PyArray_TYPE(y) &&
           PyArray_CompareLists(PyArray_DIMS(x), PyArray_DIMS(y), n) &&
           PyArray_CompareLists(PyArray_STRIDES(x), PyArray_STRIDES(y), n);
}

/* Take arrays from Python that a loop may walk over: inputs, and the output last, which overlaps no input, unless
   `may_coincide` and it is the same array. Return their number, or 0. */
static int take_arrays(PyObject *inputs, PyObject *output, int may_coincide, PyArrayObject **arrays) {
    if (!PyTuple_Check(inputs) || (size_t)PyTuple_GET_SIZE(inputs) >= MAX_ARRAYS) return 0;
    size_t n = PyTuple_GET_SIZE(inputs);
    for (size_t k = 0; k <= n; k++) {
        PyObject *x = k < n ? PyTuple_GET_ITEM(inputs, k) : output;
        if (!PyArray_Check(x)) return 0;
        arrays[k] = (PyArrayObject *)x;
        if (!PyArray_ISALIGNED(arrays[k]) || !PyArray_ISNOTSWAPPED(arrays[k]) || PyArray_NDIM(arrays[k]) > MAX_AXES)
            return 0;
        if (PyArray_DESCR(arrays[k])->type_num >= NPY_OBJECT) return 0;
    }
    if (!PyArray_ISWRITEABLE(arrays[n])) return 0;
    for (size_t k = 0; k < n; k++)
        if (overlap(arrays[k], arrays[n]) && !(may_coincide && coincide(arrays[k], arrays[n]))) return 0;
    return (int)n + 1;
}

/* The step of an array that is broadcast to a shape, along one of its axes; -1 in *ok if it cannot be */
static npy_intp broadcast_step(PyArrayObject *x, int n_dims, int axis, npy_intp length, int *ok) {
    int own = axis - (n_dims - PyArray_NDIM(x));
    if (own < 0 || (PyArray_DIM(x, own) == 1 && length != 1)) return 0;
    if (PyArray_DIM(x, own) != length) *ok = 0;
    return PyArray_STRIDE(x, own);
}

/* Whether of two axes the one that would be inside has longer steps, and should be outside, as NumPy's iterator
   decides: 1, 0 if an array has it otherwise, and -1 if no array says */
static int should_swap(const npy_intp *inside, const npy_intp *outside, int n) {
    int swap = -1;
    for (int k = 0; k < n; k++) {
        if (inside[k] == 0 || outside[k] == 0) continue;
        if (Py_ABS(inside[k]) <= Py_ABS(outside[k])) return 0;
        swap = 1;
    }
    return swap;
}

/* Begin an instruction, after the last: it walks over arrays as they are broadcast to a shape. As in NumPy's iterator,
   the axes with the longest steps are outside, and axes are joined where one continues the other. */
static Instruction *walk(Operations *self, PyArrayObject **arrays, int n, int n_dims, const npy_intp *shape) {
    if (self->length == self->capacity) {
        Py_ssize_t capacity = self->capacity ? 2 * self->capacity : 64;
        Instruction *code = PyMem_Realloc(self->code, capacity * sizeof(Instruction));
        if (!code) return NULL;
        self->code = code, self->capacity = capacity;
    }
    Instruction *new = &self->code[self->length];
    memset(new, 0, sizeof *new);
    new->n_arrays = n, new->together = 1;
    for (int k = 0; k < n; k++)
        new->start[k] = PyArray_BYTES(arrays[k]), new->item_size[k] = PyArray_ITEMSIZE(arrays[k]);

    int n_axes = 0, ok = 1; /* from the innermost to the outermost */
    npy_intp sizes[MAX_AXES], steps[MAX_AXES][MAX_ARRAYS];
    for (int axis = n_dims - 1; axis >= 0; axis--) {
        npy_intp row[MAX_ARRAYS] = {0}, size = shape[axis];
        for (int k = 0; k < n; k++) row[k] = broadcast_step(arrays[k], n_dims, axis, size, &ok);
        if (size == 1) continue;
        int at = n_axes++;
        for (int inside = at - 1, swap; inside >= 0 && (swap = should_swap(steps[inside], row, n)); inside--)
            if (swap == 1) at = inside;
        memmove(sizes + at + 1, sizes + at, (n_axes - 1 - at) * sizeof *sizes);
        memmove(steps + at + 1, steps + at, (n_axes - 1 - at) * sizeof *steps);
        sizes[at] = size, memcpy(steps[at], row, sizeof row);
    }
    if (!ok) return NULL;
    int joined = 0; /* axes that are left */
    for (int axis = 0; axis < n_axes; axis++) {
        int continues = joined > 0;
        for (int k = 0; continues && k < n; k++) continues = steps[axis][k] == steps[joined - 1][k] * sizes[joined - 1];
        if (continues)
            sizes[joined - 1] *= sizes[axis];
        else
            sizes[joined] = sizes[axis], memmove(steps[joined], steps[axis], sizeof *steps), joined++;
    }
    new->sizes[0] = joined ? sizes[0] : 1;
    if (joined) memcpy(new->steps, steps[0], n * sizeof **steps);
    new->n_outer = joined ? joined - 1 : 0;
    for (int axis = 0; axis < new->n_outer; axis++) { /* from the outermost */
        new->outer_sizes[axis] = sizes[joined - 1 - axis];
        memcpy(new->outer_steps[axis], steps[joined - 1 - axis], sizeof *steps);
    }
    return new;
}

/* Whether NumPy calls the inner loop with the same steps, and so computes an element in the same way. It does not where
   some are negative: its iterator may go along that axis the other way. It may copy operands of several axes to a
   buffer, where they are contiguous; to an exact loop this makes no difference. An axis of length 1 counts too, as its
   step may decide which way a loop takes. Some loops of one operand, such as that of `negative` for AVX-512 up to NumPy
   2.4, compute wrong numbers where the result has gaps; where NumPy has a buffer, it does not see them. */
static int has_numpys_steps(const Instruction *i, PyArrayObject **arrays, int is_exact) {
    if (i->n_arrays == 2 && i->sizes[0] > 1 && i->steps[1] != i->item_size[1]) return 0;
    for (int k = 0; k < i->n_arrays; k++) {
        for (int axis = 0; axis < PyArray_NDIM(arrays[k]); axis++)
            if (PyArray_STRIDE(arrays[k], axis) < 0) return 0;
        if (!is_exact && i->n_outer > 0 && i->steps[k] != i->item_size[k]) return 0;
    }
    return 1;
}

/* If the rows are short, let a loop of our own go over all of them instead of `loop`, that of an exact ufunc; but the
   first operand must not be broadcast along them. Return the loop to use. */
static PyUFuncGenericFunction join_rows(Instruction *i, PyUFuncObject *ufunc, int type, PyUFuncGenericFunction loop) {
    PyUFuncGenericFunction ours = find_rows_loop(ufunc->name, type);
    npy_intp size = i->item_size[0];
    if (!ours || i->n_outer == 0 || i->sizes[0] * size > SHORT_ROW) return loop;
    if (i->steps[0] != size || i->steps[2] != size || (i->steps[1] != size && i->steps[1] != 0)) return loop;
    int rows = --i->n_outer; /* the innermost axis */
    i->sizes[1] = i->outer_sizes[rows];
    memcpy(i->steps + 3, i->outer_steps[rows], 3 * sizeof *i->steps);
    return ours;
}

/* Whether one of two instructions of a run writes what the other reads or writes, but not element by element alike: in
   pieces, it would come too early or too late */
static int clash(const Instruction *a, const Instruction *b) {
    const Instruction *pair[2] = {a, b};
    for (int which = 0; which < 2; which++) {
        const Instruction *writer = pair[which], *other = pair[1 - which];
        int w = writer->n_arrays - 1;
        for (int k = 0; k < other->n_arrays; k++) {
            int alike = other->start[k] == writer->start[w] && other->item_size[k] == writer->item_size[w] &&
                        other->steps[k] == writer->steps[w] && other->outer_steps[0][k] == writer->outer_steps[0][w];
            if (other->low[k] < writer->high[w] && writer->low[w] < other->high[k] && !alike) return 1;
        }
    }
    return 0;
}

static int has_rows(const Instruction *i, npy_intp size) {
    return i->sizes[0] == size || (i->is_exact && i->outer_sizes[0] == 1 && i->sizes[0] % size == 0);
}

static void cut_into_rows(Instruction *i, npy_intp size) {
    if (i->sizes[0] == size) return;
    for (int k = 0; k < i->n_arrays; k++) i->outer_steps[0][k] = i->steps[k] * size;
    i->outer_sizes[0] = i->sizes[0] / size, i->sizes[0] = size;
}

/* Let the last instruction run together with those before it, tile by tile, if that gives the same results: all go over
   as many elements, in rows of one size. Several networks have such rows, each with numbers of its own. */
static int joins_run(Operations *self, Instruction *first, Instruction *new) {
    if (self->length == 0 || self->run + first->together != self->length) return 0;
    if (!first->is_elementwise || !new->is_elementwise || new->sizes[0] == 0) return 0;
    if (first->outer_sizes[0] * first->sizes[0] != new->outer_sizes[0] * new->sizes[0]) return 0;
    npy_intp size = Py_MIN(first->sizes[0], new->sizes[0]);
    for (Instruction *i = first; i <= new; i++)
        if (!has_rows(i, size)) return 0;
    for (Instruction *i = first; i <= new; i++) cut_into_rows(i, size);
    for (Instruction *i = first; i < new; i++)
        if (clash(i, new)) return 0;
    return 1;
}

/* Complete the instruction that `walk` has appended, and keep what it uses */
static int append(Operations *self, PyUFuncGenericFunction loop, void *data, PyArrayObject **arrays) {
    Instruction *new = &self->code[self->length], *first = &self->code[self->run];
    int out = new->n_arrays - 1;
    for (int k = 0; k <= out; k++) {
        if (PyList_Append(self->kept, (PyObject *)arrays[k]) < 0) return -1;
        find_extent(arrays[k], &new->low[k], &new->high[k]);
    }
    new->loop = loop, new->data = data;
    new->is_dense = new->high[out] - new->low[out] == PyArray_NBYTES(arrays[out]);
    new->is_elementwise &= new->sizes[1] == 0 && (new->n_outer == 0 || (new->n_outer == 1 && new->sizes[0] >= TILE));
    if (new->is_elementwise && new->n_outer == 0) new->outer_sizes[0] = 1;
    if (joins_run(self, first, new))
        first->together++;
    else
        self->run = self->length;
    self->length++;
    return 0;
}

#define DONE(result) return (result) < 0 ? NULL : Py_NewRef(Py_True)
#define REFUSE return PyErr_Occurred() ? NULL : Py_NewRef(Py_False)

/* elementwise(ufunc, inputs, output, is_exact): a ufunc whose inner loops do not raise. `is_exact` says that every
   element has one right result, which they all find. */
static PyObject *add_elementwise(Operations *self, PyObject *args) {
    PyUFuncObject *ufunc;
    PyObject *inputs, *output;
    int is_exact;
    PyArrayObject *arrays[MAX_ARRAYS];
    void *data = NULL;
    if (!PyArg_ParseTuple(args, "O!OOp", &PyUFunc_Type, &ufunc, &inputs, &output, &is_exact)) return NULL;
    int n = take_arrays(inputs, output, 1, arrays);
    if (!n || ufunc->nout != 1 || ufunc->nargs != n || ufunc->core_enabled) REFUSE;
    PyUFuncGenericFunction loop = find_ufunc_loop(ufunc, arrays, &data);
    if (!loop) REFUSE;
    Instruction *new = walk(self, arrays, n, PyArray_NDIM(arrays[n - 1]), PyArray_DIMS(arrays[n - 1]));
    if (!new || !has_numpys_steps(new, arrays, is_exact)) REFUSE;
    if (is_exact) loop = join_rows(new, ufunc, PyArray_TYPE(arrays[0]), loop);
    new->is_elementwise = 1, new->is_exact = is_exact, new->symbol = is_exact ? find_symbol(ufunc->name, arrays[0]) : 0;
    DONE(append(self, loop, data, arrays));
}

/* product(ufunc, inputs, output, unit): matmul, vecdot and others with core dimensions; threads may share a product of
   two matrices in pieces of a multiple of `unit` rows, if this is not 0 */
static PyObject *add_product(Operations *self, PyObject *args) {
    PyUFuncObject *ufunc;
    PyObject *inputs, *output;
    Py_ssize_t unit;
    PyArrayObject *arrays[MAX_ARRAYS], *cut[MAX_ARRAYS] = {NULL};
    void *data = NULL;
    if (!PyArg_ParseTuple(args, "O!OOn", &PyUFunc_Type, &ufunc, &inputs, &output, &unit)) return NULL;
    int n = take_arrays(inputs, output, 0, arrays);
    if (!n || ufunc->nout != 1 || ufunc->nargs != n || !ufunc->core_enabled || ufunc->core_num_dim_ix > MAX_CORE)
        REFUSE;
    PyUFuncGenericFunction loop = find_ufunc_loop(ufunc, arrays, &data);
    if (!loop) REFUSE;
    npy_intp core_sizes[MAX_CORE] = {-1, -1, -1, -1}, core_steps[2 * MAX_ARRAYS];
    int n_core = 0;
    for (int k = 0; k < n; k++) {
        int n_own = ufunc->core_num_dims[k], first = PyArray_NDIM(arrays[k]) - n_own;
        if (n_own > 2 || first < 0) REFUSE;
        for (int d = 0; d < n_own; d++) {
            npy_intp *size = &core_sizes[ufunc->core_dim_ixs[ufunc->core_offsets[k] + d]];
            if (*size >= 0 && *size != PyArray_DIM(arrays[k], first + d)) REFUSE;
            *size = PyArray_DIM(arrays[k], first + d);
            core_steps[n_core++] = PyArray_STRIDE(arrays[k], first + d);
        }
    }
    for (int k = 0; k < n; k++) { /* the same arrays without their core dimensions */
        PyArrayObject *x = arrays[k];
        int n_dims = PyArray_NDIM(x) - ufunc->core_num_dims[k];
        Py_INCREF(PyArray_DESCR(x));
        cut[k] = (PyArrayObject *)PyArray_NewFromDescr(&PyArray_Type, PyArray_DESCR(x), n_dims, PyArray_DIMS(x),
                                                       PyArray_STRIDES(x), PyArray_DATA(x), NPY_ARRAY_WRITEABLE, NULL);
        if (!cut[k]) {
            while (k--) Py_DECREF(cut[k]);
            return NULL;
        }
    }
    Instruction *new = walk(self, cut, n, PyArray_NDIM(cut[n - 1]), PyArray_DIMS(cut[n - 1]));
    for (int k = 0; k < n; k++) Py_DECREF(cut[k]);
    if (!new) REFUSE;
    memcpy(new->sizes + 1, core_sizes, sizeof core_sizes);
    memcpy(new->steps + n, core_steps, n_core * sizeof *core_steps);
    if (n_core == 6 && new->sizes[0] == 1 && unit > 0 && new->sizes[1] > unit) new->unit = unit, self->has_shares = 1;
    DONE(append(self, loop, data, arrays));
}

/* The loop that copies elements, or converts them */
static PyUFuncGenericFunction find_assign_loop(PyArrayObject *target, PyArrayObject *source) {
    int from = PyArray_TYPE(source), to = PyArray_TYPE(target);
    return PyArray_EquivTypenums(from, to) ? find_copy_loop(PyArray_ITEMSIZE(source)) : find_convert_loop(from, to);
}

/* copy(target, source): also converts, as copyto(target, source, casting="unsafe") does */
static PyObject *add_copy(Operations *self, PyObject *args) {
    PyObject *target, *source;
    PyArrayObject *arrays[MAX_ARRAYS];
    if (!PyArg_ParseTuple(args, "OO", &target, &source)) return NULL;
    PyObject *inputs = PyTuple_Pack(1, source);
    int n = inputs ? take_arrays(inputs, target, 0, arrays) : 0;
    Py_XDECREF(inputs);
    if (!n) REFUSE;
    PyUFuncGenericFunction loop = find_assign_loop(arrays[1], arrays[0]);
    Instruction *new = loop ? walk(self, arrays, n, PyArray_NDIM(arrays[1]), PyArray_DIMS(arrays[1])) : NULL;
    if (!new) REFUSE;
    new->is_elementwise = new->is_exact = 1;
    DONE(append(self, loop, NULL, arrays));
}

/* choose(condition, x, y, output): as where(condition, x, y) does for x, y and output of one dtype */
static PyObject *add_choose(Operations *self, PyObject *args) {
    PyObject *inputs, *output;
    PyArrayObject *arrays[MAX_ARRAYS];
    if (!PyArg_ParseTuple(args, "OO", &inputs, &output)) return NULL;
    int n = take_arrays(inputs, output, 1, arrays);
    if (n != 4 || PyArray_TYPE(arrays[0]) != NPY_BOOL) REFUSE;
    if (PyArray_TYPE(arrays[1]) != PyArray_TYPE(arrays[3]) || PyArray_TYPE(arrays[2]) != PyArray_TYPE(arrays[3]))
        REFUSE;
    PyUFuncGenericFunction loop = find_choose_loop(PyArray_ITEMSIZE(arrays[3]));
    Instruction *new = loop ? walk(self, arrays, n, PyArray_NDIM(arrays[3]), PyArray_DIMS(arrays[3])) : NULL;
    if (!new) REFUSE;
    new->is_elementwise = new->is_exact = 1;
    DONE(append(self, loop, NULL, arrays));
}

/* accumulate(ufunc, x, output): output = ufunc(output, x) for each element of x, whose other axes output has with the
   length 1; the last step of a reduction */
static PyObject *add_accumulate(Operations *self, PyObject *args) {
    PyUFuncObject *ufunc;
    PyObject *x, *output;
    PyArrayObject *pair[MAX_ARRAYS];
    void *data = NULL;
    if (!PyArg_ParseTuple(args, "O!OO", &PyUFunc_Type, &ufunc, &x, &output)) return NULL;
    PyObject *inputs = PyTuple_Pack(1, x);
    int n = inputs ? take_arrays(inputs, output, 0, pair) : 0;
    Py_XDECREF(inputs);
    if (!n || ufunc->nin != 2 || ufunc->nout != 1 || ufunc->core_enabled) REFUSE;
    PyArrayObject *arrays[MAX_ARRAYS] = {pair[1], pair[0], pair[1]};
    PyUFuncGenericFunction loop = find_ufunc_loop(ufunc, arrays, &data);
    if (!loop) REFUSE;
    Instruction *new = walk(self, arrays, 3, PyArray_NDIM(arrays[1]), PyArray_DIMS(arrays[1]));
    if (!new || !has_numpys_steps(new, arrays, 1)) REFUSE;
    loop = join_rows(new, ufunc, PyArray_TYPE(arrays[0]), loop);
    DONE(append(self, loop, data, arrays));
}

/* take(target, is_numbered): in each round, copy rows of an array that `run` is given, or convert them: those with the
   numbers that it is given, or else the next ones */
static PyObject *add_take(Operations *self, PyObject *args) {
    PyArrayObject *target;
    int is_numbered;
    if (!PyArg_ParseTuple(args, "O!p", &PyArray_Type, &target, &is_numbered)) return NULL;
    if (PyArray_NDIM(target) == 0 || !PyArray_ISCARRAY(target) || PyArray_TYPE(target) >= NPY_OBJECT) REFUSE;
    PyArrayObject *arrays[MAX_ARRAYS] = {target, target};
    Instruction *new = walk(self, arrays, 2, 0, NULL);
    if (!new) REFUSE;
    new->target = target, new->is_numbered = is_numbered;
    new->sizes[0] = PyArray_MultiplyList(PyArray_DIMS(target) + 1, PyArray_NDIM(target) - 1);
    new->steps[1] = PyArray_ITEMSIZE(target);
    new->outer_sizes[0] = PyArray_DIM(target, 0);
    new->outer_steps[0][1] = PyArray_STRIDE(target, 0);
    DONE(append(self, NULL, NULL, arrays));
}

/* call(function): a call without arguments, in Python */
static PyObject *add_call(Operations *self, PyObject *function) {
    if (!PyCallable_Check(function)) return PyErr_Format(PyExc_TypeError, "function must be callable");
    Instruction *new = walk(self, NULL, 0, 0, NULL);
    if (!new || PyList_Append(self->kept, function) < 0) return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    new->call = function;
    self->run = self->length++;
    Py_RETURN_NONE;
}

/* Whether nothing from `end` on reads what instruction `i` writes: it is no result, and is overwritten before it is
   read, perhaps in the next round. A call in Python may read anything. */
static int is_unread(Operations *self, const Instruction *i, Py_ssize_t end, PyObject *results) {
    char *low = i->low[i->n_arrays - 1], *high = i->high[i->n_arrays - 1], *from, *to;
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(results); k++) {
        find_extent((PyArrayObject *)PyTuple_GET_ITEM(results, k), &from, &to);
        if (from < high && low < to) return 0;
    }
    for (Py_ssize_t at = end; at < end + self->length; at++) {
        const Instruction *other = &self->code[at % self->length];
        int out = other->n_arrays - 1;
        if (other->call) return 0;
        for (int k = 0; k < out && !other->target; k++)
            if (other->low[k] < high && low < other->high[k]) return 0;
        if (other->is_dense && other->low[out] <= low && high <= other->high[out]) return 1;
    }
    return 0;
}

/* If the instructions of a run from `at` on are an update, make the one that stands for them, and return their number.
   The arrays of different letters do not overlap, or they would not run together. */
static Py_ssize_t match(Operations *self, Py_ssize_t at, Py_ssize_t end, const struct Update *update, PyObject *results,
                        Instruction *fused) {
    Py_ssize_t n = strlen(update->operators) / 5;
    const Instruction *first = &self->code[at];
    const char *starts[128] = {NULL};
    if (at + n > end) return 0;
    *fused = *first;
    for (const Instruction *i = first; i < first + n; i++) {
        const char *text = update->operators + 5 * (i - first);
        if (i->symbol != *text || i->item_size[0] != first->item_size[0]) return 0;
        for (int k = 0; k < i->n_arrays; k++) {
            int out = k == i->n_arrays - 1, letter = text[out ? 3 : k + 1], is_number = letter < 'a';
            const char *slot = strchr(update->slots, letter);
            if (i->steps[k] != (is_number ? 0 : i->item_size[k])) return 0;
            for (int other = 'a'; other <= 'z'; other++)
                if (starts[other] && (other == letter) != (starts[other] == i->start[k])) return 0;
            starts[letter] = i->start[k];
            npy_intp s = slot ? slot - update->slots : MAX_ARRAYS;
            if (out && s >= update->n_written && !is_unread(self, i, at + n, results)) return 0;
            if (!slot) continue;
            fused->start[s] = i->start[k], fused->steps[s] = i->steps[k];
            fused->outer_steps[0][s] = i->outer_steps[0][k];
        }
    }
    fused->n_arrays = (int)strlen(update->slots);
    fused->loop = update->loops[HAS_WIDE][first->item_size[0] == sizeof(npy_double)];
    return n;
}

/* Make the next instruction of a run, an update if there is one; return how many it stands for */
static Py_ssize_t fuse_next(Operations *self, Py_ssize_t at, Py_ssize_t end, PyObject *results, Instruction *next) {
    for (size_t k = 0; k < sizeof updates / sizeof *updates; k++) {
        Py_ssize_t n = match(self, at, end, &updates[k], results, next);
        if (n) return n;
    }
    *next = self->code[at];
    return 1;
}

/* fuse(*results): after all operations, let one loop take the place of those that are an update; only `results` are
   read from outside */
static PyObject *fuse_updates(Operations *self, PyObject *results) {
    for (Py_ssize_t k = 0; k < PyTuple_GET_SIZE(results); k++)
        if (!PyArray_Check(PyTuple_GET_ITEM(results, k)))
            return PyErr_Format(PyExc_TypeError, "results must be arrays");
    Instruction *code = PyMem_Malloc(Py_MAX(self->capacity, 1) * sizeof *code);
    if (!code) return PyErr_NoMemory();
    Py_ssize_t length = 0;
    for (Py_ssize_t at = 0; at < self->length;) {
        Py_ssize_t end = at + self->code[at].together, run = length;
        while (at < end) at += fuse_next(self, at, end, results, &code[length++]);
        code[run].together = length - run;
    }
    PyMem_Free(self->code);
    self->code = code, self->length = self->run = length;
    Py_RETURN_NONE;
}

/* Running */

static void run_loop(const Instruction *i) {
    char *base[MAX_ARRAYS], *start[MAX_ARRAYS];
    npy_intp at[MAX_AXES] = {0};
    for (int axis = 0; axis < i->n_outer; axis++)
        if (i->outer_sizes[axis] == 0) return;
    memcpy(base, i->start, sizeof base);
    for (;;) {
        memcpy(start, base, sizeof start); /* a loop may move its pointers */
        i->loop(start, i->sizes, i->steps, i->data);
        int axis = i->n_outer - 1;
        for (; axis >= 0; axis--) {
            const npy_intp *steps = i->outer_steps[axis];
            for (int k = 0; k < i->n_arrays; k++) base[k] += steps[k];
            if (++at[axis] < i->outer_sizes[axis]) break;
            for (int k = 0; k < i->n_arrays; k++) base[k] -= steps[k] * i->outer_sizes[axis];
            at[axis] = 0;
        }
        if (axis < 0) return;
    }
}

static npy_intp count_tiles_of_row(const Instruction *i) { return (i->sizes[0] + TILE - 1) / TILE; }

static npy_intp count_tiles(const Instruction *i) { return i->outer_sizes[0] * count_tiles_of_row(i); }

/* Run a few of the tiles of a run, which are counted row by row */
static void run_tiles(const Instruction *first, npy_intp begin, npy_intp end) {
    npy_intp in_row = count_tiles_of_row(first);
    for (; begin < end; begin++) {
        npy_intp row = begin / in_row, at = begin % in_row * TILE, size = Py_MIN(TILE, first->sizes[0] - at);
        for (const Instruction *i = first; i < first + first->together; i++) {
            char *start[MAX_ARRAYS];
            for (int k = 0; k < i->n_arrays; k++)
                start[k] = i->start[k] + row * i->outer_steps[0][k] + at * i->steps[k];
            i->loop(start, &size, i->steps, i->data);
        }
    }
}

/* Rounds of all instructions, and the numbers of the rows that they take, from `lowest` to `highest` */
typedef struct {
    npy_intp n_rounds, round, n_numbers;
    const npy_int32 *numbers;
    npy_int32 lowest, highest;
} Rounds;

static int fail(PyObject *type, const char *message) {
    PyErr_SetString(type, message);
    return -1;
}

static int read_numbers(Rounds *rounds, PyObject *object) {
    PyArrayObject *numbers = (PyArrayObject *)object;
    if (!PyArray_Check(object) || PyArray_NDIM(numbers) == 0 || !PyArray_ISCARRAY_RO(numbers) ||
        !PyArray_EquivTypenums(PyArray_TYPE(numbers), NPY_INT32))
        return fail(PyExc_TypeError, "numbers must be a contiguous array of int32, with an axis of rounds");
    rounds->n_rounds = PyArray_DIM(numbers, 0), rounds->n_numbers = PyArray_SIZE(numbers);
    rounds->numbers = PyArray_DATA(numbers), rounds->lowest = 0, rounds->highest = -1;
    for (npy_intp k = 0; k < rounds->n_numbers; k++) {
        rounds->lowest = Py_MIN(rounds->lowest, rounds->numbers[k]);
        rounds->highest = Py_MAX(rounds->highest, rounds->numbers[k]);
    }
    return 0;
}

/* Let an instruction take rows of this array in all rounds */
static int take_from(Instruction *i, PyObject *object, const Rounds *rounds) {
    PyArrayObject *source = (PyArrayObject *)object;
    npy_intp needed = rounds->n_rounds * i->outer_sizes[0], n = PyArray_NDIM(i->target);
    int fits = PyArray_Check(object) && PyArray_ISBEHAVED_RO(source) && PyArray_NDIM(source) == n &&
               PyArray_CompareLists(PyArray_DIMS(source) + 1, PyArray_DIMS(i->target) + 1, n - 1) &&
               (n < 3 || PyArray_IS_C_CONTIGUOUS(source)) && (i->loop = find_assign_loop(i->target, source));
    if (!fits) return fail(PyExc_TypeError, "the rows of an array do not fit where they are taken to");
    int is_inside = i->is_numbered
                        ? rounds->n_numbers == needed && rounds->lowest >= 0 && rounds->highest < PyArray_DIM(source, 0)
                        : needed <= PyArray_DIM(source, 0);
    if (!is_inside) return fail(PyExc_IndexError, "an array does not have the rows that are taken");
    i->start[0] = PyArray_BYTES(source);
    i->steps[0] = n == 2 ? PyArray_STRIDE(source, 1) : PyArray_ITEMSIZE(source);
    i->outer_steps[0][0] = PyArray_STRIDE(source, 0);
    return 0;
}

static int read_arguments(Operations *self, PyObject *args, Rounds *rounds) {
    Py_ssize_t n = PyTuple_GET_SIZE(args), next = 1;
    if (n && read_numbers(rounds, PyTuple_GET_ITEM(args, 0)) < 0) return -1;
    for (Instruction *i = self->code; i < self->code + self->length; i++) {
        if (!i->target) continue;
        if (next >= n) return fail(PyExc_TypeError, "an array is missing from which rows are taken");
        if (take_from(i, PyTuple_GET_ITEM(args, next++), rounds) < 0) return -1;
    }
    return 0;
}

static void take_rows(const Instruction *i, const Rounds *rounds, npy_intp begin, npy_intp end) {
    npy_intp first = rounds->round * i->outer_sizes[0], step = i->outer_steps[0][0];
    npy_intp ahead = Py_MIN(i->sizes[0] * i->item_size[0], AHEAD_BYTES);
    for (npy_intp k = begin; k < end; k++) {
        if (i->is_numbered && first + k + AHEAD < rounds->n_numbers)
            for (npy_intp at = 0; at < ahead; at += 64)
                PREFETCH(i->start[0] + rounds->numbers[first + k + AHEAD] * step + at);
        npy_intp row = i->is_numbered ? rounds->numbers[first + k] : first + k;
        char *start[] = {i->start[0] + row * step, i->start[1] + k * i->outer_steps[0][1]};
        i->loop(start, i->sizes, i->steps, NULL);
    }
}

/* Work that threads share, its size, and that of its parts: tiles of elementwise instructions, or rows */
typedef struct {
    const Instruction *first;
    const Rounds *rounds;
    npy_intp size, part;
} Shared;

static void run_part_of_tiles(const void *context, int k) {
    const Shared *shared = context;
    npy_intp begin = k * shared->part;
    run_tiles(shared->first, begin, Py_MIN(begin + shared->part, shared->size));
}

static void run_part_of_product(const void *context, int k) {
    const Shared *shared = context;
    Instruction part = *shared->first;
    npy_intp begin = k * shared->part;
    part.sizes[1] = Py_MIN(shared->part, shared->size - begin);
    part.start[0] += begin * part.steps[3];
    part.start[2] += begin * part.steps[7];
    part.loop(part.start, part.sizes, part.steps, part.data);
}

static void take_part_of_rows(const void *context, int k) {
    const Shared *shared = context;
    npy_intp begin = k * shared->part;
    take_rows(shared->first, shared->rounds, begin, Py_MIN(begin + shared->part, shared->size));
}

/* One part for each thread, as each part of a product packs the other factor anew. `_translate.py` knows this rule. */
static void share(Work work, const Instruction *first, const Rounds *rounds, npy_intp size, npy_intp unit,
                  int n_threads) {
    npy_intp n_units = (size + unit - 1) / unit;
    Shared shared = {first, rounds, size, unit * ((n_units + n_threads - 1) / n_threads)};
    pool_share(work, &shared, (int)((size + shared.part - 1) / shared.part), n_threads);
}

static void run_instruction(const Instruction *i, const Rounds *rounds, int n_threads) {
    if (i->target && n_threads > 1 && i->outer_sizes[0] * i->sizes[0] >= SHARED_ELEMENTS)
        share(take_part_of_rows, i, rounds, i->outer_sizes[0], 1, n_threads);
    else if (i->target)
        take_rows(i, rounds, 0, i->outer_sizes[0]);
    else if (i->unit && n_threads > 1)
        share(run_part_of_product, i, rounds, i->sizes[1], i->unit, n_threads);
    else if (!i->is_elementwise)
        run_loop(i);
    else if (n_threads > 1 && i->outer_sizes[0] * i->sizes[0] * i->together >= SHARED_ELEMENTS)
        share(run_part_of_tiles, i, rounds, count_tiles(i), 1, n_threads);
    else
        run_tiles(i, 0, count_tiles(i));
}

/* Run all instructions once; -1 if one has failed: a call in Python, or before it a product that found no memory */
static int run_round(Operations *self, const Rounds *rounds, int n_threads, PyThreadState **thread) {
    for (Py_ssize_t at = 0; at < self->length; at += self->code[at].together) {
        Instruction *i = &self->code[at];
        if (i->call) {
            PyEval_RestoreThread(*thread);
            PyObject *result = PyErr_Occurred() ? NULL : PyObject_CallNoArgs(i->call);
            Py_XDECREF(result);
            *thread = PyEval_SaveThread();
            if (!result) return -1;
        } else
            run_instruction(i, rounds, n_threads);
    }
    return 0;
}

/* Let Python handle signals that have come, without flushing; -1 if that, or an instruction before, has failed */
static int handle_signals(PyThreadState **thread) {
    uint32_t mode = get_mode();
    set_mode(0);
    PyEval_RestoreThread(*thread);
    int result = PyErr_Occurred() ? -1 : PyErr_CheckSignals();
    *thread = PyEval_SaveThread();
    set_mode(mode);
    return result;
}

/* run(numbers, *arrays): all operations in each round, or once if nothing is given, without the GIL but for calls in
   Python. The arrays are those whose rows are taken; each round has its own numbers of rows. */
static PyObject *run_rounds(Operations *self, PyObject *args) {
    Rounds rounds = {.n_rounds = 1};
    if (read_arguments(self, args, &rounds) < 0) return NULL;
    int n_threads = self->has_shares ? pool_acquire(&self->pace) : 0;
    PyThreadState *thread = PyEval_SaveThread();
    double looked = now(), begun = looked;
    for (; rounds.round < rounds.n_rounds; rounds.round++) {
        if (run_round(self, &rounds, n_threads, &thread) < 0) break;
        double ended = now();
        if (n_threads) n_threads = pool_choose(&self->pace, ended - begun);
        begun = ended;
        if (ended - looked < LISTEN) continue;
        if (handle_signals(&thread) < 0) break;
        looked = begun = now();
    }
    feclearexcept(FE_ALL_EXCEPT); /* or NumPy would report them for its next operation */
    PyEval_RestoreThread(thread);
    if (n_threads) pool_release();
    return PyErr_Occurred() ? NULL : Py_NewRef(Py_None);
}

/* The type */

static PyObject *make(PyTypeObject *type, PyObject *args, PyObject *options) {
    if (PyTuple_GET_SIZE(args) || (options && PyDict_GET_SIZE(options)))
        return PyErr_Format(PyExc_TypeError, "Operations takes no arguments");
    Operations *self = (Operations *)type->tp_alloc(type, 0);
    if (self && !(self->kept = PyList_New(0))) Py_CLEAR(self);
    return (PyObject *)self;
}

static int traverse(Operations *self, visitproc visit, void *arg) {
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->kept);
    return 0;
}

static int clear(Operations *self) { /* a program in a cycle, which nobody can run any more */
    self->length = 0;
    Py_CLEAR(self->kept);
    return 0;
}

static void dealloc(Operations *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    clear(self);
    PyMem_Free(self->code);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static Py_ssize_t count(Operations *self) { return self->length; }

/* A method by one caller at a time: another thread, or a call in Python that is one of the operations, may not add any
   while they run, and without the GIL not while others are added either */
#define ALONE(name, method)                                                                                            \
    static PyObject *name(Operations *self, PyObject *args) {                                                          \
        if (atomic_exchange(&self->is_busy, 1))                                                                        \
            return PyErr_Format(PyExc_RuntimeError, "these operations are running already");                           \
        PyObject *result = method(self, args);                                                                         \
        atomic_store(&self->is_busy, 0);                                                                               \
        return result;                                                                                                 \
    }
ALONE(elementwise, add_elementwise)
ALONE(product, add_product)
ALONE(copy, add_copy)
ALONE(choose, add_choose)
ALONE(accumulate, add_accumulate)
ALONE(call, add_call)
ALONE(take, add_take)
ALONE(fuse, fuse_updates)
ALONE(run, run_rounds)

static PyMethodDef methods[] = {
    {"elementwise", (PyCFunction)elementwise, METH_VARARGS, NULL},
    {"product", (PyCFunction)product, METH_VARARGS, NULL},
    {"copy", (PyCFunction)copy, METH_VARARGS, NULL},
    {"choose", (PyCFunction)choose, METH_VARARGS, NULL},
    {"accumulate", (PyCFunction)accumulate, METH_VARARGS, NULL},
    {"call", (PyCFunction)call, METH_O, NULL},
    {"take", (PyCFunction)take, METH_VARARGS, NULL},
    {"fuse", (PyCFunction)fuse, METH_VARARGS, NULL},
    {"run", (PyCFunction)run, METH_VARARGS, NULL},
    {NULL},
};

static PyType_Slot slots[] = {
    {Py_tp_new, make},
    {Py_tp_dealloc, dealloc},
    {Py_tp_traverse, traverse},
    {Py_tp_clear, clear},
    {Py_tp_methods, methods},
    {Py_sq_length, count},
    {0, NULL},
};

static PyType_Spec spec = {
    .name = "xpnet.backends.replay.loops.Operations",
    .basicsize = sizeof(Operations),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slots,
};

static PyObject *set_threads(PyObject *module, PyObject *number) {
    long n_threads = PyLong_AsLong(number);
    if (PyErr_Occurred()) return NULL;
    if (n_threads < 1) return PyErr_Format(PyExc_ValueError, "number must be at least 1");
    pool_set_threads((int)Py_MIN(n_threads, INT_MAX));
    Py_RETURN_NONE;
}

static PyObject *get_threads(PyObject *module, PyObject *unused) { return PyLong_FromLong(pool_get_threads()); }

static PyObject *forget_threads(PyObject *module, PyObject *unused) {
    pool_forget();
    Py_RETURN_NONE;
}

static PyObject *get_number_of_mode(PyObject *module, PyObject *unused) { return PyLong_FromUnsignedLong(get_mode()); }

static PyObject *set_mode_by_number(PyObject *module, PyObject *number) {
    unsigned long mode = PyLong_AsUnsignedLong(number);
    if (PyErr_Occurred()) return NULL;
    set_mode((uint32_t)mode);
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"get_mode", get_number_of_mode, METH_NOARGS, NULL},
    {"set_mode", set_mode_by_number, METH_O, NULL},
    {"set_threads", set_threads, METH_O, NULL},
    {"get_threads", get_threads, METH_NOARGS, NULL},
    {"forget_threads", forget_threads, METH_NOARGS, NULL},
    {NULL},
};

static int fill_module(PyObject *module) {
    import_array1(-1);
    import_umath1(-1);
    PyObject *type = PyType_FromSpec(&spec);
    int result = type ? PyModule_AddObjectRef(module, "Operations", type) : -1;
    if (!result) result = PyModule_AddIntConstant(module, "FLUSH", FLUSH);
    Py_XDECREF(type);
    return result;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, fill_module},
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED}, /* nor does NumPy support them */
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "loops", .m_methods = functions,
                                        .m_slots = module_slots};

PyMODINIT_FUNC PyInit_loops(void) { return PyModuleDef_Init(&definition); }
