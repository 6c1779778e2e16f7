/** Left panel: the images in queue order, with search and filter. Only rows on screen are rendered. */

import { useEffect, useRef, useState } from "preact/hooks";

import { thumbnailUrl } from "../api";
import { openImage } from "../editor";
import { type Filter, matchesFilter } from "../image-queue";
import * as store from "../store";
import type { ImageInfo } from "../types";
import { counted, stateLabel } from "./format";
import { MiddleEllipsis } from "./MiddleEllipsis";

/** Height of a row in pixels, as in style.css. */
const ROW = 68;
/** Rows rendered beyond either edge. */
const OVERSCAN = 4;

export function ImageList() {
  const container = useRef<HTMLDivElement>(null);
  const [scrollTop, setScrollTop] = useState(0);
  const [height, setHeight] = useState(800);
  const images = store.visibleImages.value;
  const openIndex = images.findIndex((one) => one.id === store.openImageId.value);

  useEffect(() => {
    const observer = new ResizeObserver(() => setHeight(container.current!.clientHeight));
    observer.observe(container.current!);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (openIndex >= 0) scrollToRow(container.current!, openIndex);
  }, [openIndex, images.length]);

  const first = Math.max(0, Math.floor(scrollTop / ROW) - OVERSCAN);
  const end = Math.min(images.length, Math.ceil((scrollTop + height) / ROW) + OVERSCAN);
  const onKeyDown = (event: KeyboardEvent) => {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -images.length, End: images.length };
    const step = steps[event.key as keyof typeof steps];
    if (step === undefined || !images.length) return;
    event.preventDefault();
    void openImage(images[Math.min(Math.max(openIndex + step, 0), images.length - 1)]!.id);
  };
  return (
    <nav class="left" aria-label="Images">
      <Filters />
      <div
        ref={container}
        class="rows"
        role="listbox"
        aria-label="Images in queue order"
        aria-activedescendant={openIndex >= 0 ? `row-${store.openImageId.value}` : undefined}
        tabIndex={0}
        onScroll={(event) => setScrollTop(event.currentTarget.scrollTop)}
        onKeyDown={onKeyDown}
      >
        <div style={{ height: `${images.length * ROW}px`, position: "relative" }}>
          {images.slice(first, end).map((one, index) => (
            <ImageRow key={one.id} image={one} top={(first + index) * ROW} />
          ))}
        </div>
        {!images.length && <p class="hint pad">No images match the search and filter.</p>}
      </div>
    </nav>
  );
}

function scrollToRow(container: HTMLElement, index: number): void {
  const [top, bottom] = [index * ROW, (index + 1) * ROW];
  if (top < container.scrollTop) container.scrollTop = top;
  if (bottom > container.scrollTop + container.clientHeight) container.scrollTop = bottom - container.clientHeight;
}

function ImageRow({ image, top }: { image: ImageInfo; top: number }) {
  const open = image.id === store.openImageId.value;
  const draft = image.state === "open" && image.objects > 0;
  const size = `${image.width} × ${image.height}`;
  return (
    <div
      id={`row-${image.id}`}
      class={`row${open ? " selected" : ""}`}
      role="option"
      aria-selected={open}
      data-state={image.state}
      style={{ top: `${top}px` }}
      title={image.error ?? `${image.name} · ${size} · ${counted(image.objects, "object")}`}
      onClick={() => {
        store.openPanel.value = null;
        void openImage(image.id);
      }}
    >
      <span class="thumb">
        {image.state !== "failed" && <img src={thumbnailUrl(image.id)} alt="" loading="lazy" decoding="async" />}
      </span>
      <span class="about">
        <MiddleEllipsis text={store.shownName(image)} />
        <span class="status">
          <i class={`dot ${draft ? "draft" : image.state}`} /> {stateLabel(image.state, image.objects)}
          {image.error && <span class="reason">{reason(image)}</span>}
          {image.objects > 0 && ` · ${image.objects}`}
          {image.match !== null && <span title="Highest score of what was found">{` · ${image.match.toFixed(2)}`}</span>}
          {image.state === "proposed" && image.match === null && image.uncertainty !== null && (
            <UncertaintyBar value={image.uncertainty} />
          )}
        </span>
      </span>
    </div>
  );
}

/** Why an image cannot be read, without its name. */
const reason = ({ error, name }: ImageInfo): string =>
  (error ?? "").replace(`${name}: `, "").replace(/^the image cannot be read \((.*)\).*$/, "$1");

function UncertaintyBar({ value }: { value: number }) {
  const text = `Uncertainty ${value.toFixed(2)}`;
  return (
    <span class="uncertainty" title={text} role="img" aria-label={text}>
      <i style={{ width: `${Math.round(100 * Math.min(Math.max(value, 0), 1))}%` }} />
    </span>
  );
}

const FILTERS: [Filter, string][] = [
  ["all", "All"],
  ["todo", "To do"],
  ["proposed", "Proposed"],
  ["accepted", "Accepted"],
  ["failed", "Unreadable"],
];

function Filters() {
  const count = (filter: Filter) => store.images.value.filter((one) => matchesFilter(one, filter)).length;
  return (
    <div class="filters">
      <input
        type="search"
        placeholder="Search images"
        aria-label="Search images by name"
        value={store.search.value}
        onInput={(event) => (store.search.value = event.currentTarget.value)}
      />
      <div class="chips" role="group" aria-label="Filter by state">
        {FILTERS.filter(([filter]) => filter !== "failed" || count(filter) > 0).map(([filter, text]) => (
          <button key={filter} class="chip" aria-pressed={store.filter.value === filter} onClick={() => (store.filter.value = filter)}>
            {text} <small>{count(filter)}</small>
          </button>
        ))}
      </div>
    </div>
  );
}
