"""`kim-2024`: prompt learning and point matching as printed (Kim et al., arXiv 2403.09199 v1, sections 4 and 5.1)."""

from __future__ import annotations

from typing import Any

TITLE = "Customizing Segmentation Foundation Model via Prompt Learning for Instance Segmentation"
SOURCE = "Kim et al., arXiv 2403.09199 v1"
METHOD = "plm-pmm"

SHARED: dict[str, Any] = {
    "base": "facebook/sam-vit-huge",
    "per_class": True,
    "val": 0,
    "selection": "last",
}
_SCHEDULE: dict[str, Any] = {
    "steps": 20000,
    "epochs": None,
    "batch_size": 10,
    "lr": 1e-5,
    "weight_decay": 0.01,
    "decay_all": True,
    "max_grad_norm": 0.0,
    "schedule": "step",
    "warmup": 250,
    "milestones": (0.66667, 0.86666),
    "gamma": 0.1,
    "views": 1,
    "prompt": "sampled-click",
}
_PLM: dict[str, Any] = {
    "head": "paper_plain",
    "heads": 8,
    "mlp_dim": 2048,
    "supervise": "best",
    "multimask_dice_weight": 0.0,
    "focal_weight": 20.0,
}
_PMM: dict[str, Any] = {
    "form": "reference",
    "shape_code": False,
    "points": 20,
    "matching": "paper",
    "matching_weight": 1,
}
METHODS: dict[str, dict[str, Any]] = {
    "sam": {},
    "sam-f": {"weight_decay": 0.01, "decay_all": True},
    "plm": {**_SCHEDULE, "options": _PLM},
    "plm-pmm": {**_SCHEDULE, "options": {**_PLM, **_PMM}},
}

WHY = {
    "base": "The bundled base needs no download and no GPU.",
    "per_class": "One adapter for all classes is easier to use; `--per-class` fits one for each.",
    "val": "Held-out images choose the state and say what the fit brought.",
    "selection": "The best state on held-out images is kept if there are any.",
    "steps": "1,000 steps at a rate of 1e-3 converge in minutes on few images.",
    "batch_size": "Eight masks fit into the memory of a laptop.",
    "lr": "At 1e-5 the offset of a prompt hardly changes within the steps that few images allow.",
    "decay_all": "A decay of norms and biases toward 0 changes their meaning.",
    "max_grad_norm": "A single batch can have a gradient twenty times as long as the others.",
    "schedule": "A cosine has no milestones to choose.",
    "warmup": "In proportion to the steps it would be 12 steps, too few at a rate of 1e-3.",
    "views": "Few images need augmentation.",
    "options.head": "A head that starts at zero starts exactly at the base; the plain one starts with an offset longer "
    "than the encoding of the click.",
    "options.supervise": "A mask whose score is never trained keeps its old confidence and is chosen wrongly.",
    "options.multimask_dice_weight": "If every mask learns the object, the choice by predicted IoU matters less.",
    "options.form": "The code of TextBPN++ attends across the contours of a batch instead of along a contour.",
    "options.shape_code": "Without it the module does not know the order of the points.",
    "options.points": "20 points cannot draw hair or skin.",
    "options.matching": "In Eq. 4 a predicted point that is the nearest of no true point has no gradient.",
    "sam-f.weight_decay": "A decay toward 0 would pull the mix of the masks toward the third one.",
    "sam-f.decay_all": "As of the weight decay.",
}
NOT_STATED = {
    "val": "No image is said to be kept for choosing a state.",
    "selection": "No choice of a state is mentioned; the last one is kept.",
    "decay_all": "AdamW is named without exceptions; torch applies its decay to all parameters.",
    "max_grad_norm": "No clipping is mentioned.",
    "views": "No augmentation is mentioned.",
    "options.head": "The text names three operations and no further layer; the count of 1.6M fits.",
    "options.supervise": "The paper takes over the loss of SAM, which trains the best mask.",
    "options.multimask_dice_weight": "The paper takes over the loss of SAM, which trains the best mask.",
    "options.form": "The text cites the boundary transformer of TextBPN++; this is its code as it runs.",
    "options.shape_code": "TextBPN++ has the code of the place commented out.",
    "options.points": "The number of points is not given; TextBPN++ has 20.",
    "sam-f.weight_decay": "The weights of SAM-F are named, not their training; this is the code of PerSAM-F.",
    "sam-f.decay_all": "As of the weight decay.",
}
NOTES = (
    '"Batch size 10" on eight GPUs is read as 10 masks for each GPU, 80 for each step: `torchrun --nproc_per_node 8 -m '
    "samtailor fit DATA --preset kim-2024 --out DIR` (on CPUs with `--device cpu`). A single process takes 10 masks "
    "for each step.",
    "The milestones are the printed percentages; 86.666 % is probably 86,666 of the 90,000 steps of SAM's schedule.",
    "The click of a mask is drawn with a probability proportional to the distance from its boundary; the paper gives "
    "no formula.",
    "The unit of Eq. 4 is a cell of the image embedding (16 px); the paper gives none. A contour is moved by at most "
    "0.114 times the largest interior distance, as in TextBPN++.",
    "Positions, tokens and attention of the prompt learning module follow the two-way transformer of SAM where the "
    "paper says nothing.",
)
