"""AM-SAM's mask calibration (Li et al., arXiv 2410.09714, Eqs. 9 to 12), and variants that follow its intent.

R_i[b, n] = U[b, i] H[b, n, i] (Eq. 9); all R_i of a batch are concatenated (Eq. 10) and averaged over the b c rows
(Eq. 11); M_final = alpha M + (1 - alpha) M_new (Eq. 12), alpha = 0.7. SAM's logits are M[b, n] = sum_i R_i[b, n], hence

    M_new[n] = 1 / (b c) sum_b sum_i U H = mean_b M[b, n] / c,

the logits divided by c. With one image M_final = (alpha + (1 - alpha) / c) M = 0.709375 M at c = 32: a temperature,
which the last layer of the hyper-network MLPs can absorb. It adds no capacity and changes no arg-max, only the course
of training. With several images the logits of each leak into the others.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from samtailor.errors import InputError
from samtailor.registry import choose
from samtailor.structures import Output

KINDS = ("per_sample", "paper_batch", "channel_weights", "nonlinear", "none")


class Calibration(nn.Module):
    """Changes the mask logits from the upscaled embedding U and the MLPs' outputs H.

    * "per_sample": the mean over the c channels of each image separately, M_final = (alpha + (1 - alpha) / c) M.
    * "paper_batch": the equations as printed, in closed form. The prediction of an image depends on the other images
      of its batch. All B P prompts of a call are the paper's b.
    * "channel_weights": M_new = sum_i a_i R_i with learnt a, initially 1 / c; c parameters. It is still linear in H,
      so the MLPs can absorb it; only the conditioning changes.
    * "nonlinear": M_final = M + g(R). g is a depthwise 3 x 3 convolution, GELU and a 1 x 1 convolution that starts at
      zero, shared by the masks (353 parameters at c = 32). It is spatial, and images do not interact. It starts at M;
      alpha is not used. (The last bias is common to background and object and cancels between them.)
    * "none": no calibration.

    Args:
        kind: one of the above.
        channels: c.
        alpha: weight of the original mask, in [0, 1].

    Raises:
        InputError: unknown kind, or alpha outside [0, 1].
    """

    def __init__(self, kind: str = "per_sample", *, channels: int = 32, alpha: float = 0.7) -> None:
        super().__init__()
        if not 0 <= alpha <= 1:
            raise InputError(f"alpha must be in [0, 1], got {alpha}.")
        self.kind, self.alpha = choose("calibration", kind, KINDS), alpha
        if kind == "channel_weights":
            self.weights = nn.Parameter(torch.full((channels,), 1 / channels))
        if kind == "nonlinear":
            self.spatial = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
            self.mix = nn.Conv2d(channels, 1, 1)
            for parameter in self.mix.parameters():
                nn.init.zeros_(parameter)

    def forward(self, output: Output) -> Output:
        """The output with calibrated logits; H is scaled too where logits = H U can hold."""
        return getattr(self, f"_{self.kind}")(output)

    def _none(self, output: Output) -> Output:
        return output

    def _per_sample(self, output: Output) -> Output:
        factor = scale(self.alpha, output.upscaled.shape[2])
        return replace(output, logits=output.logits * factor, hyper=output.hyper * factor)

    def _paper_batch(self, output: Output) -> Output:
        mean = output.logits.mean(dim=(0, 1), keepdim=True) / output.upscaled.shape[2]
        return replace(output, logits=self.alpha * output.logits + (1 - self.alpha) * mean)

    def _channel_weights(self, output: Output) -> Output:
        hyper = output.hyper * (self.alpha + (1 - self.alpha) * self.weights)
        return replace(output, logits=_dot(hyper, output.upscaled), hyper=hyper)

    def _nonlinear(self, output: Output) -> Output:
        products = output.upscaled[:, :, None] * output.hyper[..., None, None]  # (B, P, n, c, h, w)
        change = self.mix(nn.functional.gelu(self.spatial(products.flatten(0, 2))))
        return replace(output, logits=output.logits + change.reshape(output.logits.shape))


class Scaled(nn.Module):
    """Multiplies all logits by a number, a temperature of 1 / factor: the control experiment of the calibration.

    Args:
        factor: the number.
    """

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, output: Output) -> Output:
        """The output with scaled logits and H."""
        return replace(output, logits=output.logits * self.factor, hyper=output.hyper * self.factor)


def scale(alpha: float, channels: int) -> float:
    """The factor by which the calibration of one image multiplies its logits; 0.709375 for 0.7 and 32."""
    return alpha + (1 - alpha) / channels


def _dot(hyper: Tensor, upscaled: Tensor) -> Tensor:
    return (hyper @ upscaled.flatten(3)).reshape(*hyper.shape[:3], *upscaled.shape[-2:])


__all__ = ["KINDS", "Calibration", "Scaled", "scale"]
