/* network.c - checks and dispatch of the network's kernels. Backends rely on what is checked here:
 * nothing below looks at a shape or a type again. */
#include "kernels/check.h"
#define SHOAL_KERNELS_PRIVATE
#include "kernels/kernels_impl.h"

static int type_of(struct view v)
{
    return v.dtype == DTYPE_BF16 ? CHECK_BF16 : v.dtype == DTYPE_F32 ? CHECK_F32 : 0;
}

enum shoal_status kernel_convert(struct device *dev, struct view out, struct view x)
{
    SHOAL_TRY(check_count("convert", "x", x, CHECK_ACT, view_count(x)));
    SHOAL_TRY(check_count("convert", "out", out, CHECK_ACT, view_count(x)));
    return dev->ops->convert(dev, out, x);
}

enum shoal_status kernel_add(struct device *dev, struct view sum, struct view a, struct view b)
{
    SHOAL_TRY(check_count("add", "a", a, CHECK_F32, view_count(a)));
    SHOAL_TRY(check_count("add", "b", b, CHECK_ACT, view_count(a)));
    SHOAL_TRY(check_count("add", "sum", sum, CHECK_F32, view_count(a)));
    return dev->ops->add(dev, sum, a, b);
}

/* rows (R, C) against tokens (B, T) and the two tables. */
static enum shoal_status check_embed(const char *op, struct view rows, struct view tokens,
                                     struct view wte, struct view wpe)
{
    const int64_t width = rows.dim[1], context = tokens.dim[1];
    SHOAL_TRY(check_matrix(op, "tokens", tokens, CHECK_I32, tokens.dim[0], context));
    SHOAL_TRY(check_matrix(op, "rows", rows, CHECK_F32, tokens.dim[0] * context, width));
    SHOAL_TRY(check_matrix(op, "token table", wte, CHECK_F32, wte.dim[0], width));
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

enum shoal_status kernel_matmul(struct device *dev, struct view out, struct view x, struct view w,
                                struct view bias)
{
    const int64_t rows = x.dim[0], inputs = x.dim[1], outputs = w.dim[0];
    SHOAL_TRY(check_matrix("matmul", "x", x, CHECK_ACT, rows, inputs));
    SHOAL_TRY(check_matrix("matmul", "w", w, type_of(x), outputs, inputs));
    SHOAL_TRY(check_matrix("matmul", "out", out, CHECK_F32 | type_of(x), rows, outputs));
    if (bias.data) SHOAL_TRY(check_count("matmul", "bias", bias, CHECK_F32, outputs));
    return dev->ops->matmul(dev, out, x, w, bias);
}

enum shoal_status kernel_matmul_grad_x(struct device *dev, struct view dx, struct view dout,
                                       struct view w, bool accumulate)
{
    const int64_t rows = dout.dim[0], outputs = dout.dim[1], inputs = w.dim[1];
    const int dx_types = accumulate ? CHECK_F32 : CHECK_F32 | type_of(w);
    SHOAL_TRY(check_matrix("matmul_grad_x", "dout", dout, CHECK_ACT, rows, outputs));
    SHOAL_TRY(check_matrix("matmul_grad_x", "w", w, type_of(dout), outputs, inputs));
    SHOAL_TRY(check_matrix("matmul_grad_x", "dx", dx, dx_types, rows, inputs));
    return dev->ops->matmul_grad_x(dev, dx, dout, w, accumulate);
}

enum shoal_status kernel_matmul_grad_w(struct device *dev, struct view dw, struct view dbias,
                                       struct view dout, struct view x)
{
    const int64_t rows = x.dim[0], inputs = x.dim[1], outputs = dout.dim[1];
    SHOAL_TRY(check_matrix("matmul_grad_w", "x", x, CHECK_ACT, rows, inputs));
    SHOAL_TRY(check_matrix("matmul_grad_w", "dout", dout, type_of(x), rows, outputs));
    SHOAL_TRY(check_matrix("matmul_grad_w", "dw", dw, CHECK_F32, outputs, inputs));
    if (dbias.data) SHOAL_TRY(check_count("matmul_grad_w", "dbias", dbias, CHECK_F32, outputs));
    return dev->ops->matmul_grad_w(dev, dw, dbias, dout, x);
}

enum shoal_status kernel_layernorm(struct device *dev, struct view out, struct view mean,
                                   struct view rstd, struct view x, struct view gain,
                                   struct view bias, float eps)
{
    const int64_t rows = x.dim[0], width = x.dim[1];
    SHOAL_TRY(check_matrix("layernorm", "x", x, CHECK_F32, rows, width));
    SHOAL_TRY(check_matrix("layernorm", "out", out, CHECK_ACT, rows, width));
    SHOAL_TRY(check_count("layernorm", "mean", mean, CHECK_F32, rows));
    SHOAL_TRY(check_count("layernorm", "rstd", rstd, CHECK_F32, rows));
    SHOAL_TRY(check_count("layernorm", "gain", gain, CHECK_F32, width));
    SHOAL_TRY(check_count("layernorm", "bias", bias, CHECK_F32, width));
    return dev->ops->layernorm(dev, out, mean, rstd, x, gain, bias, eps);
}

enum shoal_status kernel_layernorm_grad(struct device *dev, struct view dx, struct view dgain,
                                        struct view dbias, struct view dout, struct view x,
                                        struct view mean, struct view rstd, struct view gain)
{
    const int64_t rows = x.dim[0], width = x.dim[1];
    SHOAL_TRY(check_matrix("layernorm_grad", "x", x, CHECK_F32, rows, width));
    SHOAL_TRY(check_matrix("layernorm_grad", "dx", dx, CHECK_F32, rows, width));
    SHOAL_TRY(check_matrix("layernorm_grad", "dout", dout, CHECK_ACT, rows, width));
    SHOAL_TRY(check_count("layernorm_grad", "mean", mean, CHECK_F32, rows));
    SHOAL_TRY(check_count("layernorm_grad", "rstd", rstd, CHECK_F32, rows));
    SHOAL_TRY(check_count("layernorm_grad", "gain", gain, CHECK_F32, width));
    SHOAL_TRY(check_count("layernorm_grad", "dgain", dgain, CHECK_F32, width));
    SHOAL_TRY(check_count("layernorm_grad", "dbias", dbias, CHECK_F32, width));
    return dev->ops->layernorm_grad(dev, dx, dgain, dbias, dout, x, mean, rstd, gain);
}

enum shoal_status kernel_gelu(struct device *dev, struct view out, struct view x)
{
    SHOAL_TRY(check_count("gelu", "x", x, CHECK_ACT, view_count(x)));
    SHOAL_TRY(check_count("gelu", "out", out, type_of(x), view_count(x)));
    return dev->ops->gelu(dev, out, x);
}

enum shoal_status kernel_gelu_grad(struct device *dev, struct view dx, struct view dout,
                                   struct view x)
{
    SHOAL_TRY(check_count("gelu_grad", "x", x, CHECK_ACT, view_count(x)));
    SHOAL_TRY(check_count("gelu_grad", "dout", dout, type_of(x), view_count(x)));
    SHOAL_TRY(check_count("gelu_grad", "dx", dx, type_of(x), view_count(x)));
    return dev->ops->gelu_grad(dev, dx, dout, x);
}

static enum shoal_status check_heads(const char *op, int64_t width, int heads)
{
    SHOAL_CHECK(heads > 0 && width % heads == 0, SHOAL_EARG,
                "%s: width %lld does not divide into %d heads", op, (long long)width, heads);
    return SHOAL_OK;
}

/* qkv (B, T, 3C), out (B, T, C), stats (B, NH, T). */
static enum shoal_status check_attention(const char *op, struct view out, struct view stats,
                                         struct view qkv, int heads)
{
    const int64_t rows = qkv.dim[0] * qkv.dim[1], width = qkv.dim[2] / 3;
    SHOAL_CHECK(qkv.dim[2] % 3 == 0 && qkv.dim[3] == 1, SHOAL_EARG,
                "%s: argument qkv must be (B, T, 3C), has a third dimension of %lld", op,
                (long long)qkv.dim[2]);
    SHOAL_TRY(check_heads(op, width, heads));
    SHOAL_TRY(check_count(op, "qkv", qkv, CHECK_ACT, rows * 3 * width));
    SHOAL_TRY(check_count(op, "out", out, type_of(qkv), rows * width));
    return check_count(op, "stats", stats, CHECK_F32, rows * heads);
}

enum shoal_status kernel_attention(struct device *dev, struct view out, struct view stats,
                                   struct view qkv, int heads)
{
    SHOAL_TRY(check_attention("attention", out, stats, qkv, heads));
    return dev->ops->attention(dev, out, stats, qkv, heads);
}

enum shoal_status kernel_attention_grad(struct device *dev, struct view dqkv, struct view dout,
                                        struct view out, struct view stats, struct view qkv,
                                        int heads)
{
    SHOAL_TRY(check_attention("attention_grad", out, stats, qkv, heads));
    SHOAL_TRY(check_count("attention_grad", "dqkv", dqkv, type_of(qkv), view_count(qkv)));
    SHOAL_TRY(check_count("attention_grad", "dout", dout, type_of(qkv), view_count(out)));
    return dev->ops->attention_grad(dev, dqkv, dout, out, stats, qkv, heads);
}

enum shoal_status kernel_attention_decode(struct device *dev, struct view out, struct view keys,
                                          struct view values, struct view qkv, int64_t position,
                                          int heads)
{
    const char *const op = "attention_decode";
    const int64_t positions = keys.dim[0], width = keys.dim[1];
    SHOAL_TRY(check_heads(op, width, heads));
    SHOAL_TRY(check_matrix(op, "keys", keys, CHECK_F32, positions, width));
    SHOAL_TRY(check_matrix(op, "values", values, CHECK_F32, positions, width));
    SHOAL_TRY(check_count(op, "qkv", qkv, CHECK_F32, 3 * width));
    SHOAL_TRY(check_count(op, "out", out, CHECK_F32, width));
    SHOAL_CHECK(position >= 0 && position < positions, SHOAL_EARG,
                "%s: position %lld is outside a cache of %lld", op, (long long)position,
                (long long)positions);
    return dev->ops->attention_decode(dev, out, keys, values, qkv, position, heads);
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
