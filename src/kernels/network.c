/* network.c - checks and dispatch of the network's kernels. Backends rely on what is checked here:
 * nothing below looks at a shape or a type again. */
#include "kernels/check.h"
#define SHOAL_KERNELS_PRIVATE
#include "kernels/kernels_impl.h"

enum shoal_status kernel_convert(struct device *dev, struct view out, struct view x)
{
    SHOAL_TRY(check_count("convert", "x", x, CHECK_ACT, view_count(x)));
    SHOAL_TRY(check_count("convert", "out", out, CHECK_ACT, view_count(x)));
    return dev->ops->convert(dev, out, x);
}

/* rows (R, C) against tokens (B, T) and the two tables, of which wpe may be none. */
static enum shoal_status check_embed(const char *op, struct view rows, struct view tokens,
                                     struct view wte, struct view wpe)
{
    const int64_t width = rows.dim[1], context = tokens.dim[1];
    SHOAL_TRY(check_matrix(op, "tokens", tokens, CHECK_I32, tokens.dim[0], context));
    SHOAL_TRY(check_matrix(op, "rows", rows, CHECK_F32, tokens.dim[0] * context, width));
    SHOAL_TRY(check_matrix(op, "token table", wte, CHECK_F32, wte.dim[0], width));
    if (!wpe.data) return SHOAL_OK;
    SHOAL_TRY(check_matrix(op, "position table", wpe, CHECK_F32, wpe.dim[0], width));
    SHOAL_CHECK(context <= wpe.dim[0], SHOAL_EARG,
                "%s: %lld tokens in a row, but the table has %lld positions", op,
                (long long)context, (long long)wpe.dim[0]);
    return SHOAL_OK;
}

enum shoal_status kernel_embed(struct device *dev, struct view out, struct view tokens,
                               struct view wte, struct view wpe)
{
    SHOAL_TRY(check_embed("embed", out, tokens, wte, wpe));
    return dev->ops->embed(dev, out, tokens, wte, wpe);
}

enum shoal_status kernel_embed_grad(struct device *dev, struct view dwte, struct view dwpe,
                                    struct view dout, struct view tokens)
{
    SHOAL_TRY(check_embed("embed_grad", dout, tokens, dwte, dwpe));
    return dev->ops->embed_grad(dev, dwte, dwpe, dout, tokens);
}

/* ---- rows and elements ----------------------------------------------------------------------- */

/* mean and bias are both there or both none. */
static enum shoal_status check_norm(const char *op, struct view x, struct view mean,
                                    struct view rstd, struct view gain, struct view bias)
{
    const int64_t rows = x.dim[0], width = x.dim[1];
    SHOAL_TRY(check_matrix(op, "x", x, CHECK_F32, rows, width));
    SHOAL_TRY(check_count(op, "rstd", rstd, CHECK_F32, rows));
    SHOAL_TRY(check_count(op, "gain", gain, CHECK_F32, width));
    SHOAL_CHECK(!mean.data == !bias.data, SHOAL_EARG,
                "%s: arguments mean and bias go together, and one of them is none", op);
    if (!mean.data) return SHOAL_OK;
    SHOAL_TRY(check_count(op, "mean", mean, CHECK_F32, rows));
    return check_count(op, "bias", bias, CHECK_F32, width);
}

enum shoal_status kernel_norm(struct device *dev, struct view out, struct view mean,
                              struct view rstd, struct view x, struct view gain, struct view bias,
                              float eps)
{
    SHOAL_TRY(check_norm("norm", x, mean, rstd, gain, bias));
    SHOAL_TRY(check_matrix("norm", "out", out, CHECK_ACT, x.dim[0], x.dim[1]));
    return dev->ops->norm(dev, out, mean, rstd, x, gain, bias, eps);
}

enum shoal_status kernel_norm_grad(struct device *dev, struct view dx, struct view dx16,
                                   struct view dgain, struct view dbias, struct view dout,
                                   struct view x, struct view mean, struct view rstd,
                                   struct view gain)
{
    const char *const op = "norm_grad";
    const int64_t rows = x.dim[0], width = x.dim[1];
    SHOAL_TRY(check_norm(op, x, mean, rstd, gain, dbias));
    SHOAL_TRY(check_matrix(op, "dx", dx, CHECK_F32, rows, width));
    if (dx16.data) SHOAL_TRY(check_matrix(op, "dx16", dx16, CHECK_BF16, rows, width));
    SHOAL_TRY(check_matrix(op, "dout", dout, CHECK_ACT, rows, width));
    SHOAL_TRY(check_count(op, "dgain", dgain, CHECK_F32, width));
    return dev->ops->norm_grad(dev, dx, dx16, dgain, dbias, dout, x, mean, rstd, gain);
}

enum shoal_status kernel_gelu(struct device *dev, struct view out, struct view x)
{
    SHOAL_TRY(check_count("gelu", "x", x, CHECK_ACT, view_count(x)));
    SHOAL_TRY(check_count("gelu", "out", out, check_type(x), view_count(x)));
    return dev->ops->gelu(dev, out, x);
}

enum shoal_status kernel_swiglu(struct device *dev, struct view out, struct view x)
{
    const int64_t rows = out.dim[0], width = out.dim[1];
    SHOAL_TRY(check_matrix("swiglu", "x", x, CHECK_ACT, rows, 2 * width));
    SHOAL_TRY(check_matrix("swiglu", "out", out, check_type(x), rows, width));
    return dev->ops->swiglu(dev, out, x);
}

enum shoal_status kernel_swiglu_grad(struct device *dev, struct view dx, struct view dout,
                                     struct view x)
{
    const int64_t rows = dout.dim[0], width = dout.dim[1];
    SHOAL_TRY(check_matrix("swiglu_grad", "x", x, CHECK_ACT, rows, 2 * width));
    SHOAL_TRY(check_matrix("swiglu_grad", "dx", dx, check_type(x), rows, 2 * width));
    SHOAL_TRY(check_matrix("swiglu_grad", "dout", dout, check_type(x), rows, width));
    return dev->ops->swiglu_grad(dev, dx, dout, x);
}

/* ---- attention ------------------------------------------------------------------------------- */

/* qkv (B, T, W) divides into heads; *size: numbers of one. */
static enum shoal_status check_heads(const char *op, int64_t width, struct attention_shape s,
                                     int64_t *size)
{
    SHOAL_CHECK(s.heads > 0 && s.kv_heads > 0 && s.heads % s.kv_heads == 0, SHOAL_EARG,
                "%s: %d heads cannot share %d heads of keys", op, s.heads, s.kv_heads);
    const int64_t heads = s.heads + 2 * s.kv_heads;
    SHOAL_CHECK(width > 0 && width % heads == 0, SHOAL_EARG,
                "%s: rows of %lld numbers do not divide into %lld heads", op, (long long)width,
                (long long)heads);
    *size = width / heads;
    return SHOAL_OK;
}

enum shoal_status kernel_rope(struct device *dev, struct view qkv, struct attention_shape shape,
                              int64_t first, float theta, bool back)
{
    int64_t size = 0;
    SHOAL_TRY(check_heads("rope", qkv.dim[2], shape, &size));
    SHOAL_TRY(check_count("rope", "qkv", qkv, CHECK_ACT, view_count(qkv)));
    SHOAL_CHECK(size % 2 == 0, SHOAL_EARG, "rope: heads of %lld numbers cannot be turned in pairs",
                (long long)size);
    SHOAL_CHECK(first >= 0 && theta > 0.0f, SHOAL_EARG, "rope: position %lld, theta %g",
                (long long)first, (double)theta);
    return dev->ops->rope(dev, qkv, shape, first, theta, back);
}

/* qkv (B, T, W), out (B, T, C), stats (B, NH, T). */
static enum shoal_status check_attention(const char *op, struct view out, struct view stats,
                                         struct view qkv, struct attention_shape s)
{
    const int64_t rows = qkv.dim[0] * qkv.dim[1];
    int64_t size = 0;
    SHOAL_CHECK(qkv.dim[3] == 1, SHOAL_EARG, "%s: argument qkv must be (B, T, W)", op);
    SHOAL_TRY(check_heads(op, qkv.dim[2], s, &size));
    SHOAL_CHECK(size % 2 == 0 || check_type(qkv) == CHECK_F32, SHOAL_EARG,
                "%s: heads of bf16 must have an even size, not %lld", op, (long long)size);
    SHOAL_TRY(check_count(op, "qkv", qkv, CHECK_ACT, rows * qkv.dim[2]));
    SHOAL_TRY(check_count(op, "out", out, check_type(qkv), rows * s.heads * size));
    return check_count(op, "stats", stats, CHECK_F32, rows * s.heads);
}

enum shoal_status kernel_attention(struct device *dev, struct view out, struct view stats,
                                   struct view qkv, struct attention_shape shape)
{
    SHOAL_TRY(check_attention("attention", out, stats, qkv, shape));
    return dev->ops->attention(dev, out, stats, qkv, shape);
}

enum shoal_status kernel_attention_grad(struct device *dev, struct view dqkv, struct view dout,
                                        struct view out, struct view stats, struct view qkv,
                                        struct attention_shape shape)
{
    SHOAL_TRY(check_attention("attention_grad", out, stats, qkv, shape));
    SHOAL_TRY(check_count("attention_grad", "dqkv", dqkv, check_type(qkv), view_count(qkv)));
    SHOAL_TRY(check_count("attention_grad", "dout", dout, check_type(qkv), view_count(out)));
    return dev->ops->attention_grad(dev, dqkv, dout, out, stats, qkv, shape);
}

enum shoal_status kernel_attention_decode(struct device *dev, struct view out, struct view keys,
                                          struct view values, struct view qkv, int64_t position,
                                          struct attention_shape shape)
{
    const char *const op = "attention_decode";
    const int64_t positions = keys.dim[0], width = view_count(qkv);
    int64_t size = 0;
    SHOAL_TRY(check_heads(op, width, shape, &size));
    SHOAL_TRY(check_matrix(op, "keys", keys, CHECK_F32, positions, shape.kv_heads * size));
    SHOAL_TRY(check_matrix(op, "values", values, CHECK_F32, positions, shape.kv_heads * size));
    SHOAL_TRY(check_count(op, "qkv", qkv, CHECK_F32, width));
    SHOAL_TRY(check_count(op, "out", out, CHECK_F32, shape.heads * size));
    SHOAL_CHECK(position >= 0 && position < positions, SHOAL_EARG,
                "%s: position %lld is outside a cache of %lld", op, (long long)position,
                (long long)positions);
    return dev->ops->attention_decode(dev, out, keys, values, qkv, position, shape);
}

enum shoal_status kernel_xent(struct device *dev, struct view losses, struct view logits,
                              struct view targets, int vocab, float scale, bool with_grad)
{
    const int64_t rows = logits.dim[0], padded = logits.dim[1];
    SHOAL_TRY(check_matrix("xent", "logits", logits, CHECK_ACT, rows, padded));
    SHOAL_TRY(check_count("xent", "losses", losses, CHECK_F32, rows));
    SHOAL_TRY(check_count("xent", "targets", targets, CHECK_I32, rows));
    SHOAL_CHECK(vocab > 0 && vocab <= padded, SHOAL_EARG,
                "xent: vocabulary of %d, but logits have %lld columns", vocab, (long long)padded);
    return dev->ops->xent(dev, losses, logits, targets, vocab, scale, with_grad);
}
