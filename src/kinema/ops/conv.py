"""Convolutions: `Conv2d` and `Conv3d` are PyTorch's, computed in a way that is correct and fast.

Arguments, weights, names and results are those of `nn.Conv2d` and `nn.Conv3d`. The method of `Conv3d` depends on
kernel, stride, groups, device and dtype; `benchmarks/single_clip.py` and `benchmarks/depthwise_layout.py` measure it:

| kernel | method |
|---|---|
| 1xKxK | 2-D, frame by frame, everywhere |
| channel-wise, odd, padded by half | float32 on a CPU: own gradients, see `_Channelwise`; Kx1x1 is 2-D over time |
| channel-wise Kx1x1, padded otherwise (causal) | float32 on a CPU: `temporal_conv` |
| Kx1x1 | CPU with one thread: 2-D over time and all positions |
| others | a call of oneDNN for one float32 clip on a CPU |
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from kinema.errors import KinemaError
from kinema.ops.arguments import Count, Range, Triple, checked
from kinema.ops.layout import fold_space, fold_time, unfold_space, unfold_time
from kinema.ops.packing import PackedKernel
from kinema.ops.precision import full_precision

_MANY = 16  # from this many pictures, PyTorch uses oneDNN for 1x1 convolutions with one thread too
Size = tuple[int, int, int]
Natural = Annotated[int, Range(0)]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]


class Conv2d(nn.Conv2d):
    """`nn.Conv2d` that selects the pixels of the stride before it computes a 1x1 kernel.

    On a CPU, the gradient of a strided 1x1 is wrong or crashes: for fewer channels than a vector holds, oneDNN writes
    outside its memory (oneDNN issue 6035; seen with PyTorch 2.13 and 8 channels).

    Attributes:
        packed: computes results without gradients, in the copies that backends make; see `kinema.ops.packing`.
    """

    packed: PackedKernel | None = None

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.packed is not None and not torch.is_grad_enabled():
            return self.packed(x, weight, bias)
        if self.kernel_size == (1, 1) and self.padding in ((0, 0), "valid"):
            return _pointwise(_pick_pixels(x, *self.stride), weight, bias, self.groups)
        return super()._conv_forward(x, weight, bias)


class Conv3d(nn.Conv3d):
    """`nn.Conv3d` that chooses a fast method; N C T H W -> N C' T' H' W'.

    Direct calls of oneDNN are not counted by `FlopCounterMode` on real tensors; on the meta device all operations are.
    If `fails_in_bfloat16`, it computes in float32.

    Args:
        in_channels: C.
        out_channels: C'.
        kernel_size: one number, or the numbers for time, height and width.
        stride: same form as `kernel_size`.
        padding: same form as `kernel_size`, or `same` or `valid`.
        dilation: same form as `kernel_size`.
        groups: number of groups; divides C and C'.
        bias: add a trained number per output channel.
        padding_mode: padding values, as in `nn.Conv3d`.
        causal: no output frame depends on a later frame: all padding in time is zeros before the clip, as many as keep
            T at stride 1, and `padding` applies only to height and width.

    Raises:
        KinemaError: an argument is out of range.
    """

    @checked
    def __init__(
        self,
        in_channels: Count,
        out_channels: Count,
        kernel_size: Count | Triple,
        stride: Count | Triple = 1,
        padding: Natural | tuple[Natural, Natural, Natural] | Literal["same", "valid"] = 0,
        dilation: Count | Triple = 1,
        groups: Count = 1,
        bias: bool = True,
        padding_mode: PaddingMode = "zeros",
        *,
        causal: bool = False,
    ) -> None:
        if in_channels % groups or out_channels % groups:
            raise KinemaError(f"Conv3d: groups is {groups}; give a divisor of {in_channels} and {out_channels}")
        kernel_size, stride, dilation = _triple(kernel_size), _triple(stride), _triple(dilation)
        if padding == "same" and stride != (1, 1, 1):
            raise KinemaError(f"Conv3d: padding is 'same' with stride {stride}; give numbers, or stride 1")
        past = 0
        if causal:
            if isinstance(padding, str):
                raise KinemaError(f"Conv3d: padding is {padding!r}; give numbers with causal=True")
            past, padding = dilation[0] * (kernel_size[0] - 1), (0, *_triple(padding)[1:])
        elif not isinstance(padding, str):
            padding = _triple(padding)
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode
        )  # fmt: skip
        self.causal, self._past, self._way = causal, past, self._choose()

    def _choose(self) -> str:
        """The part of the method that follows from the arguments; the rest depends on the clip."""
        kernel, padding = self.kernel_size, self.padding
        if self.padding_mode != "zeros" or isinstance(padding, str):
            return "plain"
        if self.groups == self.in_channels == self.out_channels > 1 and self.bias is None and set(self.dilation) == {1}:
            if all(k % 2 and p == k // 2 for k, p in zip(kernel, padding, strict=True)):
                return "channelwise"
            if kernel[1:] == (1, 1) and padding[1:] == (0, 0) and self.stride == (1, 1, 1):
                return "channelwise_time"
        if kernel[0] == 1 and padding[0] == 0:
            return "frames"
        if kernel[1:] == (1, 1) and padding[1:] == (0, 0) and self.stride[1:] == (1, 1) and self.groups == 1:
            return "time"
        return "volume"

    def forward(self, x: Tensor) -> Tensor:
        """N C T H W -> N C' T' H' W'."""
        if self._past:
            x = F.pad(x, (0, 0, 0, 0, self._past, 0))
        # The compiler check comes first: it cannot trace the questions about oneDNN.
        found = None if torch.compiler.is_compiling() or x.device.type != "cpu" else self._on_cpu(x)
        if found is not None:
            return found
        if self._way == "frames":
            return self._over_frames(x)
        if fails_in_bfloat16(x, self.weight):
            with full_precision(x):
                bias = None if self.bias is None else self.bias.float()
                return self._conv_forward(x.float(), self.weight.float(), bias).to(torch.bfloat16)
        return super().forward(x)

    def _on_cpu(self, x: Tensor) -> Tensor | None:
        """Returns the result of a method that PyTorch would not choose; None if there is none."""
        way, weight = self._way, self.weight
        if way == "channelwise_time":
            return temporal_conv(x, weight.flatten(2), int(self.padding[0]))
        if way == "time" and torch.get_num_threads() == 1:
            return self._over_time(x)
        if way == "plain" or not _is_plain(x, weight):
            return None
        if way == "channelwise":
            if self.kernel_size[1:] == (1, 1) and self.stride == (1, 1, 1):
                return self._over_time(x)
            if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
                result: Tensor = _Channelwise.apply(x, weight, self.stride)
                return result
        elif x.shape[0] == self.groups == 1 and _has_onednn():
            if way == "frames" and (torch.is_grad_enabled() or set(self.kernel_size + self.stride) != {1}):
                return None  # a 1x1x1 result is faster than frame by frame, but gradients take twice as long
            # For one small clip (C T H up to 20480), PyTorch uses an implementation that is several times slower than
            # the one for two clips. Grouped convolutions use oneDNN anyway.
            padding = tuple(map(int, self.padding))
            return torch.mkldnn_convolution(x, weight, self.bias, padding, self.stride, self.dilation, 1)
        return None

    def _over_frames(self, x: Tensor) -> Tensor:
        """Computes frame by frame. For a 3-D convolution of one small clip on a CPU, PyTorch uses a kernel that is slow
        and leaves channels-last memory, so that all later layers are slower too; for many 2-D frames it does not.
        """
        step = int(self.stride[0])
        if step > 1:
            x = x[:, :, ::step].contiguous(memory_format=torch.channels_last_3d)
        frames, weight, stride = fold_time(x), self.weight.squeeze(2), self.stride[1:]
        if self.kernel_size == (1, 1, 1) and self.padding == (0, 0, 0):  # same as in Conv2d
            y = _pointwise(_pick_pixels(frames, *stride), weight, self.bias, self.groups)
            return unfold_time(y, x.shape[2])
        y = F.conv2d(frames, weight, self.bias, stride, self.padding[1:], self.dilation[1:], self.groups)
        return unfold_time(y, x.shape[2])

    def _over_time(self, x: Tensor) -> Tensor:
        """Computes over time in 2-D. PyTorch computes a Kx1x1 kernel with one thread (Ray gives its workers one), and
        the gradients of a channel-wise one always, by a plain implementation, several times slower than oneDNN in 2-D.
        """
        weight = self.weight.squeeze(4)
        stride, padding, dilation = ((int(of[0]), 1) for of in (self.stride, self.padding, self.dilation))
        y = F.conv2d(fold_space(x), weight, self.bias, stride, (padding[0], 0), dilation, self.groups)
        return unfold_space(y, x.shape[3], x.shape[4])


def temporal_conv(x: Tensor, weight: Tensor, padding: int) -> Tensor:
    """`y[n, c, t] = sum_i weight[c, i] x[n, c, t + i - padding]`, zeros outside the clip, at every position.

    For float32 clips on a CPU, oneDNN is called directly for the forward pass and for the gradient of the input, which
    is the same with mirrored kernels. PyTorch uses slower code for both with small batches, and always for gradients.
    The gradient of the weights is a product and a sum per frame of the kernel. All other cases use `conv3d`.

    Args:
        x: N C T H W.
        weight: C 1 K.
        padding: number of zero frames before and after the clip.

    Returns:
        N C (T + 2 padding - K + 1) H W.
    """
    kernel = weight[:, :, :, None, None]
    # The compiler check comes first: it cannot trace the questions about oneDNN.
    if not torch.compiler.is_compiling() and _is_plain(x, weight) and _has_onednn():
        result: Tensor = _Temporal.apply(x, kernel, padding)
        return result
    return conv3d(x, kernel, padding, len(weight))


def conv3d(x: Tensor, weight: Tensor, padding: int, groups: int = 1) -> Tensor:
    """`F.conv3d` padded in time, without bias, in float32 if `fails_in_bfloat16`; N C T H W -> N C' T' H W."""
    if fails_in_bfloat16(x, weight):
        with full_precision(x):
            y = F.conv3d(x.float(), weight.float(), padding=(padding, 0, 0), groups=groups)
        return y.to(torch.bfloat16)
    return F.conv3d(x, weight, padding=(padding, 0, 0), groups=groups)


def fails_in_bfloat16(x: Tensor, weight: Tensor) -> bool:
    """True if a 3-D convolution would compute a wrong weight gradient.

    On a CPU, in bfloat16, for clips of 2 frames under a padded kernel of 3 (in general for few frames under a long
    kernel, and for maps of a few pixels), oneDNN in PyTorch 2.13 returns memory that it has not written, and may write
    outside its memory. The result itself and the gradient of the clip are correct; in float32 everything is.
    Args:
        x: N C T H W.
        weight: C' C K K K.
    """
    if x.device.type != "cpu" or not (weight.requires_grad and torch.is_grad_enabled()):
        return False  # before the shape is used: an exporter would turn it into a limit of the clip's length
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    short = 1 < x.shape[2] <= weight.shape[2]
    return dtype == torch.bfloat16 and (
        short or any(1 < k >= size for k, size in zip(weight.shape[3:], x.shape[3:], strict=True))
    )


class _Channelwise(torch.autograd.Function):
    """PyTorch's forward pass is fast on a CPU if the clip is in `channels_last_3d` memory, but its gradients are not.

    The gradient of the input is the forward pass with mirrored kernels; that of the weights is a 2-D one per frame of
    the kernel.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Size) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride = stride
        return F.conv3d(x, weight, None, stride, _half(weight), 1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        x = x.contiguous(memory_format=torch.channels_last_3d)  # a slice of the channels is not contiguous
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        of_x = of_weight = None
        if ctx.needs_input_grad[0]:
            if ctx.stride == (1, 1, 1):
                of_x = F.conv3d(gradient, weight.flip(2, 3, 4), None, 1, _half(weight), 1, len(weight))
            else:
                of_x = _backward(gradient, x, weight, ctx.stride, _half(weight), (True, False, False))[0]
        if ctx.needs_input_grad[1]:
            if ctx.stride[0] == 1:
                of_weight = _of_weight(gradient, x, weight, ctx.stride[1:])
            else:
                of_weight = _backward(gradient, x, weight, ctx.stride, _half(weight), (False, True, False))[1]
        return of_x, of_weight, None


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, ...]) -> Tensor:
    """Computes, per frame of the kernel, the gradient of a 2-D convolution between frames and the frames they used.

    The distance between them is the same in the whole batch, so that both are slices of all frames; gradient frames
    that would be paired with another clip are set to zero.
    """
    n, _, t = x.shape[:3]
    source, found = fold_time(x), []
    for i in range(weight.shape[2]):
        later = i - weight.shape[2] // 2
        count = n * t - abs(later)
        if count <= 0:
            found.append(torch.zeros_like(weight[:, :, i]))
            continue
        met = gradient
        if later and n > 1:
            met = gradient.clone()
            outside = slice(max(0, t - later), t) if later > 0 else slice(0, -later)
            met[:, :, outside] = 0
        first, other = max(0, -later), max(0, later)
        pair = fold_time(met)[first : first + count], source[other : other + count]
        found.append(_backward(*pair, weight[:, :, i], stride, _half(weight)[1:], (False, True, False))[1])
    return torch.stack(found, 2)


def _backward(
    gradient: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: tuple[int, ...],
    padding: tuple[int, ...],
    wanted: tuple[bool, ...],
) -> tuple[Tensor, Tensor, Tensor]:
    """Computes gradients of a channel-wise convolution in 2 or 3 dimensions: of input, weights and bias."""
    ones, zeros = [1] * len(stride), [0] * len(stride)
    return torch.ops.aten.convolution_backward(
        gradient, x, weight, None, stride, padding, ones, False, zeros, len(weight), wanted
    )  # fmt: skip


class _Temporal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, padding: int) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.padding = padding
        return _onednn(x, kernel, padding)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        x, kernel = ctx.saved_tensors
        of_x = of_kernel = None
        size = kernel.shape[2]
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        if ctx.needs_input_grad[0]:
            of_x = _onednn(gradient, kernel.flip(2), size - 1 - ctx.padding)
        if ctx.needs_input_grad[1]:
            found = []
            for i in range(size):
                offset = i - ctx.padding  # frame t of the result used frame t + offset of the clip
                first, last = max(0, -offset), min(gradient.shape[2], x.shape[2] - offset)
                met = gradient[:, :, first:last] * x[:, :, first + offset : last + offset]
                found.append(met.sum((0, 2, 3, 4)))
            of_kernel = torch.stack(found, 1).view_as(kernel)
        return of_x, of_kernel, None


def _onednn(x: Tensor, kernel: Tensor, padding: int) -> Tensor:
    return torch.mkldnn_convolution(x, kernel, None, (padding, 0, 0), (1, 1, 1), (1, 1, 1), len(kernel))


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """Computes a 1x1 convolution of N C H W.

    With one thread, PyTorch computes fewer than 16 pictures by a matrix product, which takes about twice as long as
    oneDNN. For a result without gradients, oneDNN is called directly. With gradients, for which PyTorch chooses again,
    rows become pictures, so that there are enough of them.
    """
    if (
        torch.compiler.is_compiling()  # first: a check of the batch would fix its size in an exported program
        or len(x) >= _MANY
        or groups != 1
        or torch.get_num_threads() != 1
        or not _is_plain(x, weight)
        or not _has_onednn()
    ):
        return F.conv2d(x, weight, bias, groups=groups)
    if not torch.is_grad_enabled():
        return torch.mkldnn_convolution(x, weight, bias, (0, 0), (1, 1), (1, 1), 1)
    n, _, h, w = x.shape
    rows = next((k for k in range(1, h + 1) if h % k == 0 and n * k >= _MANY), 1)
    parts = x.permute(0, 2, 3, 1).reshape(n * rows, h // rows, w, -1)  # a view in channels-last memory
    y = F.conv2d(parts.permute(0, 3, 1, 2), weight, bias)
    return y.permute(0, 2, 3, 1).reshape(n, h, w, -1).permute(0, 3, 1, 2)


def _pick_pixels(x: Tensor, down: int, right: int) -> Tensor:
    """Returns every `down`-th row and `right`-th column of N C H W, in channels-last memory if not all are kept."""
    if down == right == 1:
        return x
    return x[:, :, ::down, ::right].contiguous(memory_format=torch.channels_last)


def _is_plain(x: Tensor, weight: Tensor) -> bool:
    """True for a float32 convolution on a CPU."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )  # fmt: skip


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.enabled) and torch.backends.mkldnn.is_available()


def _half(weight: Tensor) -> Size:
    return weight.shape[2] // 2, weight.shape[3] // 2, weight.shape[4] // 2


def _triple(value: Any) -> Size:
    t, h, w = value if isinstance(value, Sequence) else (value, value, value)
    return int(t), int(h), int(w)
