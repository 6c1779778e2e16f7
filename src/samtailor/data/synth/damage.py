"""Effects of cameras and file formats: light, shadow, blur, noise, compression, loss of color."""

from __future__ import annotations

import cv2
import numpy as np

from samtailor.data.synth import shapes, textures

Rng = np.random.Generator


def damage(rng: Rng, image: np.ndarray) -> np.ndarray:
    """A photographed version of an image, uint8 (S, S, 3). Masks remain valid."""
    if rng.uniform() < 0.5:
        image = light(rng, image)
    if rng.uniform() < 0.08:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.uniform() < 0.5:
        image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.3)) * image.shape[0] / 256)
    if rng.uniform() < 0.4:
        image = noise(rng, image)
    if rng.uniform() < 0.35:
        image = compress(image, int(rng.integers(25, 90)))
    return np.ascontiguousarray(image)


def light(rng: Rng, image: np.ndarray) -> np.ndarray:
    """Uneven, tinted light: a smooth gain between about 0.6 and 1.3."""
    height, width = image.shape[:2]
    gain = rng.uniform(0.6, 1.05) + rng.uniform(0, 0.35) * textures.clouds(
        rng, height, width, height / rng.uniform(0.8, 3)
    )
    tint = rng.normal(1, 0.06, 3).astype(np.float32)
    return np.clip(image * gain[..., None] * tint, 0, 255).astype(np.uint8)


def noise(rng: Rng, image: np.ndarray) -> np.ndarray:
    """Sensor noise: the same grain in all channels plus a little in each, amplitude 2 to 14 of 255."""
    grain = np.empty(image.shape, np.int16)
    cv2.setRNGSeed(int(rng.integers(1 << 30)))
    cv2.randn(grain, 0, float(rng.uniform(2, 14)))
    return cv2.add(image, grain, dtype=cv2.CV_8U)


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """Compress to JPEG and decompress; `quality` is 1 to 100."""
    _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))


def shadow(rng: Rng, image: np.ndarray, center: tuple[float, float], reach: tuple[float, float]) -> None:
    """Darken a soft ellipse with center and radii `reach` in pixels, in place."""
    outline = shapes.ellipse(center[0], center[1], reach[0], reach[1], 20)
    drawn = shapes.rasterize([outline], image.shape[0])
    if drawn is None:
        return
    cover, (x0, y0, x1, y1) = drawn
    soft = cv2.GaussianBlur(cover, (0, 0), max(1.0, 0.12 * min(reach)))
    keep = 1 - soft.astype(np.float32) * (float(rng.uniform(0.2, 0.55)) / 255)
    image[y0:y1, x0:x1] = (image[y0:y1, x0:x1] * keep[..., None]).astype(np.uint8)
