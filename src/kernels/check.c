/* check.c - see check.h. A failing check here is a mistake of the caller, so the text says what was
 * expected and found rather than what a user should do. */
#include "kernels/check.h"

static const char *type_name(enum dtype t)
{
    return t == DTYPE_F32 ? "f32" : t == DTYPE_BF16 ? "bf16" : "i32";
}

static int type_bit(enum dtype t)
{
    return t == DTYPE_F32 ? CHECK_F32 : t == DTYPE_BF16 ? CHECK_BF16 : CHECK_I32;
}

static const char *types_text(int types)
{
    switch (types) {
    case CHECK_F32:
        return "f32";
    case CHECK_BF16:
        return "bf16";
    case CHECK_ACT:
        return "f32 or bf16";
    default:
        return "i32";
    }
}

int check_type(struct view v)
{
    return v.dtype == DTYPE_I32 ? 0 : type_bit(v.dtype);
}

enum shoal_status check_count(const char *op, const char *arg, struct view v, int types,
                              int64_t count)
{
    SHOAL_CHECK(v.data, SHOAL_EARG, "%s: argument %s has no data", op, arg);
    SHOAL_CHECK(type_bit(v.dtype) & types, SHOAL_EARG, "%s: argument %s is %s, expected %s", op,
                arg, type_name(v.dtype), types_text(types));
    SHOAL_CHECK(view_count(v) == count, SHOAL_EARG,
                "%s: argument %s has %lld elements, expected %lld", op, arg,
                (long long)view_count(v), (long long)count);
    return SHOAL_OK;
}

enum shoal_status check_matrix(const char *op, const char *arg, struct view v, int types,
                               int64_t d0, int64_t d1)
{
    SHOAL_CHECK(v.dim[0] == d0 && v.dim[1] == d1, SHOAL_EARG,
                "%s: argument %s is %lld x %lld, expected %lld x %lld", op, arg,
                (long long)v.dim[0], (long long)v.dim[1], (long long)d0, (long long)d1);
    return check_count(op, arg, v, types, d0 * d1);
}

enum shoal_status check_pointer(const char *op, const char *arg, const void *p, int64_t n)
{
    SHOAL_CHECK(n >= 0, SHOAL_EARG, "%s: %lld elements", op, (long long)n);
    SHOAL_CHECK(p || n == 0, SHOAL_EARG, "%s: argument %s is NULL", op, arg);
    return SHOAL_OK;
}
