"""Find objects like those of references in the current image of a predictor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch

from samtailor.errors import InputError
from samtailor.matchers import DEFAULT as MATCHER
from samtailor.predict.embedded import EmbeddedImage

if TYPE_CHECKING:
    from samtailor.predict.find import Finder, FoundObject
    from samtailor.predict.references import EncodedImage, Reference


class FindsObjects(EmbeddedImage):
    """The part of `Predictor` that works from references, without an adapter."""

    def finder(
        self,
        like: Reference | Sequence[Reference],
        not_like: Reference | Sequence[Reference] = (),
        *,
        matcher: str = MATCHER,
        threshold: float | None = None,
        label: str = "object",
        **options: Any,
    ) -> Finder:
        """Read references once, to find similar objects in many images with `find`.

        Args:
            like: what to find: images with masks, boxes or clicks.
            not_like: what not to find.
            matcher: "multiscale", "persam", "persam-f", or a plug-in.
            threshold: lowest score, in [0, 1]; None: calibrated on the references.
            label: class of what is found.
            **options: of the matcher.

        Raises:
            InputError: no reference, a reference that marks nothing, an unknown matcher or option, or a wrong
                threshold.
            DataError: a file that cannot be read, or a mask that does not fit its image.
        """
        from samtailor.predict.find import Finder

        return Finder.of(
            lambda: cast("EncodedImage", type(self)(self.base, store=self._store, precision=self.precision)), like,
            not_like, matcher=matcher, settings=options, threshold=threshold, label=label,
        )  # fmt: skip

    def find(
        self,
        like: Finder | Reference | Sequence[Reference],
        not_like: Reference | Sequence[Reference] = (),
        **options: Any,
    ) -> list[FoundObject]:
        """Find objects of the current image that resemble references, by the base and without a fit.

        Args:
            like: what to find: references, or a `finder`, which has read them already.
            not_like: what not to find; not together with a finder.
            **options: as of `finder`; not together with a finder.

        Returns:
            objects with mask and score, each once, sorted by falling score; none where nothing is alike.

        Raises:
            InputError: no image is set, or as `finder`.
            DataError: as `finder`.

        Example:
            ```python
            from samtailor import Predictor, Reference

            predictor = Predictor.from_pretrained()
            predictor.set_image("street.jpg")
            for one in predictor.find(Reference("photo.jpg", mask="mask.png")):
                print(one.score, one.box)
            ```
        """
        from samtailor.predict.find import Finder

        self.frame  # noqa: B018 - raises when there is no image
        if not isinstance(like, Finder):
            like = self.finder(like, not_like, **options)
        elif not_like or options:
            raise InputError("A finder has read its references already: give not_like and options to `finder`.")
        with torch.no_grad():
            return like.objects(cast("EncodedImage", self))


__all__ = ["FindsObjects"]
