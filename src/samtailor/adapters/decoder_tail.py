"""Trained copies of the ends of the mask decoder: tokens, upscaling, hyper-network MLPs and IoU head. Its transformer
stays frozen (BLO-SAM, Zhang et al., arXiv 2402.16338, and AM-SAM, Li et al., arXiv 2410.09714: part of the lower
level W).

A class has two mask tokens, background and object, with a softmax over both; `Region` turns them into one mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from samtailor.adapters.lora import matching
from samtailor.bases import Base
from samtailor.registry import choose
from samtailor.structures import Output

START = ("sam", "random")
IOU = ("trained", "idle")
AnyModule = TypeVar("AnyModule", bound=nn.Module)
MASKS = 2
SINGLE = 0
"""SAM's mask token for unambiguous prompts, from which both channels start."""


class DecoderTail(nn.Module):
    """Trained copies of the decoder's ends with two mask tokens, background and object.

    486,434 parameters at width 256 with the IoU head, 354,336 without.

    Args:
        base: frozen base.
        start: "sam": the object's channel starts as half SAM's single mask, the background's as minus half, so that
            their difference is exactly SAM's mask. "random": mask tokens, MLPs and IoU head are initialized at random,
            as in BLO-SAM's code (its loader drops every tensor once one shape differs).
        iou: "trained": the IoU head is trained too; its input is detached, so the masks are bit for bit those without
            it. "idle": the head is left out (in the reference code it is counted but gets no gradient), and the
            predicted IoU is computed otherwise (see `Region`).

    Raises:
        InputError: unknown `start` or `iou`.
    """

    def __init__(self, base: Base, *, start: str = "sam", iou: str = "trained") -> None:
        super().__init__()
        choose("start", start, START)
        choose("iou", iou, IOU)
        self._names: dict[str, str] = {}
        for site in ("decoder.iou_token", "decoder.upscaling"):
            for name in matching(base, site):
                self._add(name, _free(base.model.get_submodule(name)))
        copies: dict[str, Callable[[Any, str], nn.Module]] = {
            "decoder.mask_tokens": _tokens,
            "decoder.hyper": _mlps,
            "decoder.iou_head": _head,
        }
        for site, copy in copies.items():
            if site != "decoder.iou_head" or iou == "trained":
                (name,) = matching(base, site)
                self._add(name, copy(base.model.get_submodule(name), start))

    def modules_of(self, base: Base) -> Mapping[str, nn.Module]:
        """The copies, by the name of the frozen modules."""
        return {path: self.get_submodule(name) for path, name in self._names.items()}

    def _add(self, path: str, module: nn.Module) -> None:
        name = path.rsplit(".", 1)[-1]
        self._names[path] = name
        self.add_module(name, module)


class DecoderCopy(nn.Module):
    """The mask decoder's transformer as a trained copy (SAMed, Med-SA), 3,291,264 parameters at width 256.

    Args:
        base: frozen base.
        ends: also copy the ends, unchanged, for the single mask of token 0 (Med-SA): tokens, upscaling, that token's
            MLP and the IoU head (its input detached, as in `DecoderTail`). The MLPs of the other tokens would get no
            gradient.
    """

    def __init__(self, base: Base, *, ends: bool = False) -> None:
        super().__init__()
        self._names: dict[str, str] = {}
        for name in matching(base, "decoder.transformer"):
            self._add(name, _free(base.model.get_submodule(name)))
        if ends:
            for site in ("decoder.iou_token", "decoder.mask_tokens", "decoder.upscaling"):
                for name in matching(base, site):
                    self._add(name, _free(base.model.get_submodule(name)))
            (mlps,), (head,) = matching(base, "decoder.hyper"), matching(base, "decoder.iou_head")
            self._add(f"{mlps}.{SINGLE}", _free(base.model.get_submodule(f"{mlps}.{SINGLE}")), "hyper")
            self._add(head, _Detached(_free(base.model.get_submodule(head))))

    def modules_of(self, base: Base) -> Mapping[str, nn.Module]:
        """The copies, by the name of the frozen modules."""
        return {path: self.get_submodule(name) for path, name in self._names.items()}

    def _add(self, path: str, module: nn.Module, name: str | None = None) -> None:
        name = name or path.rsplit(".", 1)[-1]
        self._names[path] = name
        self.add_module(name, module)


class Single(nn.Module):
    """Keeps only the mask of token 0, SAM's single mask, with its predicted IoU."""

    def forward(self, output: Output) -> Output:
        """An output with one mask, `candidates=(0,)`."""
        single = slice(SINGLE, SINGLE + 1)
        logits, hyper, iou = (part[:, :, single] for part in (output.logits, output.hyper, output.iou))
        return replace(output, logits=logits, hyper=hyper, iou=iou, candidates=(0,))


class Region(nn.Module):
    """Background and object channels to one mask: its logit is m1 - m0.

    The softmax of two channels is the sigmoid of their difference, so a threshold of 0 is the arg-max. The predicted
    IoU is the IoU head's where that head was trained; else it is the expected IoU of the mask under its own
    probabilities, since the frozen head does not fit a changed decoder.

    Args:
        iou: "trained" or "idle", as of the `DecoderTail`.
    """

    def __init__(self, iou: str = "trained") -> None:
        super().__init__()
        self._trained = choose("iou", iou, IOU) == "trained"

    def forward(self, output: Output) -> Output:
        """An output with one mask, `candidates=(0,)`."""
        logits = (output.logits[:, :, 1] - output.logits[:, :, 0]).unsqueeze(2)
        hyper = (output.hyper[:, :, 1] - output.hyper[:, :, 0]).unsqueeze(2)
        iou = output.iou[:, :, 1:2] if self._trained else expected_iou(logits.detach())
        return replace(output, logits=logits, hyper=hyper, iou=iou, candidates=(0,))


def expected_iou(logits: Tensor) -> Tensor:
    """Expected IoU of a mask (logits > 0) if its probabilities are right: (..., h, w) to (...).

    Sum of p inside the mask over the mask's area plus the sum of p outside (ratio of expectations).
    """
    p = logits.float().sigmoid()
    inside = logits > 0
    union = inside.float().sum((-2, -1)) + p.masked_fill(inside, 0).sum((-2, -1))
    return p.masked_fill(~inside, 0).sum((-2, -1)) / union.clamp(min=1e-6)


class _Detached(nn.Module):
    """An IoU head whose loss does not reach the layers before it."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.detach())


def _free(module: AnyModule) -> AnyModule:
    """A trainable copy, without the hooks of the original."""
    copy = deepcopy(module)
    for part in copy.modules():
        part._forward_hooks.clear()
    return copy.requires_grad_(True)


def _reset(module: AnyModule) -> AnyModule:
    """The module with linear and embedding layers initialized as by torch."""
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            part.reset_parameters()
    return module


@torch.no_grad()
def _tokens(tokens: nn.Embedding, start: str) -> nn.Module:
    copy = nn.Embedding(MASKS, tokens.embedding_dim, device=tokens.weight.device)
    if start == "sam":
        copy.weight.copy_(tokens.weight[SINGLE].expand_as(copy.weight))
    return copy


@torch.no_grad()
def _mlps(mlps: nn.ModuleList, start: str) -> nn.Module:
    copies: list[Any] = [_free(mlps[SINGLE]) for _ in range(MASKS)]
    for mlp, sign in zip(copies, (-0.5, 0.5), strict=True):
        for tensor in mlp.proj_out.parameters():
            tensor.mul_(sign)
    return nn.ModuleList(copies) if start == "sam" else _reset(nn.ModuleList(copies))


@torch.no_grad()
def _head(head: Any, start: str) -> nn.Module:
    copy, last = _free(head), head.proj_out
    copy.proj_out = nn.Linear(last.in_features, MASKS, device=last.weight.device)
    if start == "sam":
        copy.proj_out.weight.copy_(last.weight[SINGLE].expand_as(copy.proj_out.weight))
        copy.proj_out.bias.copy_(last.bias[SINGLE].expand_as(copy.proj_out.bias))
    return _Detached(copy if start == "sam" else _reset(copy))


__all__ = ["DecoderCopy", "DecoderTail", "Region", "Single", "expected_iou"]
