"""`am-sam-2024`: AM-SAM as printed, with BLO-SAM, SAMed and Med-SA beside it (Li et al., arXiv 2410.09714)."""

from __future__ import annotations

from typing import Any

TITLE = "AM-SAM: Automated Prompting and Mask Calibration for Segment Anything Model"
SOURCE = "Li et al., arXiv 2410.09714"
METHOD = "am-sam"

SHARED: dict[str, Any] = {"base": "facebook/sam-vit-base@256", "val": 0}
_BILEVEL: dict[str, Any] = {
    "epochs": 100,
    "batch_size": 1,
    "weight_decay": 0.1,
    "decay_all": True,
    "max_grad_norm": 0.0,
    "schedule": "poly",
    "power": 0.9,
    "warmup": 0,
    "views": 1,
    "selection": "paper",
    "selection_score": "dice",
    "eval_epochs": 1.0,
    "eval_masks": 1000,
    "snapshots": (1.0, 5.0, 20.0, 100.0),
}
_LOWER: dict[str, Any] = {
    "upper": "dense",
    "rank": 4,
    "start": "random",
    "iou": "idle",
    "dice_weight": 0.8,
    "per_mask": False,
    "hypergradient": "first-order",
}
METHODS: dict[str, dict[str, Any]] = {
    "am-sam": {
        **_BILEVEL,
        "lr": {"lower": 5e-3, "upper": 1e-3},
        "prompt": "detector",
        "prompt_options": {"pick": "best", "threshold": 0.0},
        "options": {**_LOWER, "prompt_start": "random", "reading": "R1", "calibration": "paper_batch", "alpha": 0.7},
    },
    "blo-sam": {
        **_BILEVEL,
        "lr": {"lower": 5e-3, "upper": 5e-3},
        "prompt": "none",
        "options": {**_LOWER, "prompt_start": "sam"},
    },
    "sam": {},
    "samed": {"batch_size": 12, "warmup": 250, "decay_all": True, "selection": "last"},
    "med-sa": {"selection": "last"},
}

WHY = {
    "base": "The bundled base needs no download and no GPU.",
    "val": "Held-out images choose the state and say what the fit brought; with `--shots` there are none by default.",
    "decay_all": "A decay of norms, biases and prompts toward 0 changes their meaning.",
    "selection": "D2 is data that the upper level has learned from; held-out images are used if there are any.",
    "selection_score": "mIoU is the score of every other method.",
    "eval_epochs": "A tenth of the steps is often enough.",
    "eval_masks": "A bound on the time of a validation.",
    "snapshots": "They are needed for Figure 1 only.",
    "prompt_options.threshold": "A box of little confidence is often none of the object.",
    "options.start": "From SAM's own mask the training starts at a mask, not at noise.",
    "options.iou": "Without it the adapter has no score of its own.",
    "options.calibration": "The calibration over a batch lets the logits of one image leak into the others.",
    "options.upper": "The reading decides what the upper level learns.",
    "options.prompt_start": "The prompt of the base is a better start than noise.",
    "samed.batch_size": "With few shots there are fewer images than that.",
    "samed.warmup": "With few shots a fit has fewer steps than that.",
    "samed.decay_all": "A decay of norms and biases toward 0 changes their meaning.",
    "samed.selection": "Held-out images choose the state if there are any.",
    "med-sa.selection": "Held-out images choose the state if there are any.",
}
NOT_STATED = {
    "base": "Neither the size of the images nor that of SAM is given; the code of BLO-SAM has ViT-B at 256 px.",
    "val": "The shots are all that is trained and selected on.",
    "eval_masks": "All of D2.",
    "snapshots": "Figure 1 shows these epochs.",
    "prompt_options.threshold": "The box of the highest confidence is used; no lower bound is mentioned.",
    "options.start": "The code of BLO-SAM, whose loader leaves the mask tokens and their MLPs at random values.",
    "options.iou": "The code of BLO-SAM gives the IoU head no gradient.",
    "options.upper": "The code of BLO-SAM learns the dense prompt.",
    "samed.batch_size": "From the paper of SAMed.",
    "samed.warmup": "From the paper of SAMed.",
    "samed.decay_all": "From the code of SAMed.",
    "samed.selection": "From the code of SAMed.",
    "med-sa.selection": "From the code of Med-SA.",
}
NOTES = (
    "The detector of the paper is YOLOv8, which is AGPL-3.0 and not part of samtailor: name one with `--detector "
    "FILE`. It has the classes of COCO; the paper does not say how it finds lesions.",
    "Detections with a score under 0.05 are never kept. Where nothing is detected, the box is the full frame; this is "
    "counted.",
    "The state before the training is a candidate of the selection too.",
    "The training images are shuffled and halved by the seed; the code of BLO-SAM takes them in the order of the file "
    "system, shows only the first image of D2 to the upper level, and does not normalize images. It resizes images to "
    "the square without keeping their aspect ratio; here the longer side is resized.",
    "Alpha is 0.7, the value that the paper names for its results; its Figure 6 varies it (recipes `am-sam-figure6`).",
    "With a batch of one image the calibration is the factor 0.7 + 0.3 / 32 on all logits.",
    "SAMed and Med-SA use their own image sizes (512 and 1024 px) in their papers; AM-SAM does not say which it used.",
)
