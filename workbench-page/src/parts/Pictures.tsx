/** Left: the pictures in the order of the queue, with thumbnail, state and filter. Only rows in sight are made. */

import { useEffect, useRef, useState } from "preact/hooks";

import { thumbnailUrl } from "../api";
import type { Picture } from "../contract";
import type { Filter } from "../queue";
import * as store from "../store";
import { open } from "../work";
import { STATES } from "./wording";

const ROW = 68;

export function Pictures() {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [high, setHigh] = useState(800);
  const list = store.shown.value;
  const at = list.findIndex((one) => one.id === store.openId.value);

  useEffect(() => {
    const watch = new ResizeObserver(() => setHigh(box.current!.clientHeight));
    watch.observe(box.current!);
    return () => watch.disconnect();
  }, []);
  useEffect(() => {
    const sheet = box.current!;
    if (at < 0) return;
    if (at * ROW < sheet.scrollTop) sheet.scrollTop = at * ROW;
    if ((at + 1) * ROW > sheet.scrollTop + sheet.clientHeight) sheet.scrollTop = (at + 1) * ROW - sheet.clientHeight;
  }, [at, list.length]);

  const first = Math.max(0, Math.floor(top / ROW) - 4);
  const last = Math.min(list.length, Math.ceil((top + high) / ROW) + 4);
  const move = (event: KeyboardEvent) => {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -list.length, End: list.length }[event.key];
    if (by === undefined || !list.length) return;
    event.preventDefault();
    void open(list[Math.min(Math.max(at + by, 0), list.length - 1)]!.id);
  };
  return (
    <nav class="left" aria-label="Pictures">
      <Filters />
      <div
        ref={box}
        class="rows"
        role="listbox"
        aria-label="Pictures, in the order of the queue"
        aria-activedescendant={at >= 0 ? `row-${store.openId.value}` : undefined}
        tabIndex={0}
        onScroll={(event) => setTop(event.currentTarget.scrollTop)}
        onKeyDown={move}
      >
        <div style={{ height: `${list.length * ROW}px`, position: "relative" }}>
          {list.slice(first, last).map((one, index) => (
            <Row key={one.id} picture={one} top={(first + index) * ROW} />
          ))}
        </div>
        {!list.length && <p class="hint pad">No picture here. Choose another filter.</p>}
      </div>
    </nav>
  );
}

function Row({ picture, top }: { picture: Picture; top: number }) {
  const mine = picture.id === store.openId.value;
  const drafts = picture.state === "open" && picture.objects > 0;
  const state = drafts ? "Draft" : STATES[picture.state];
  return (
    <div
      id={`row-${picture.id}`}
      class={`row${mine ? " mine" : ""}`}
      role="option"
      aria-selected={mine}
      data-state={picture.state}
      style={{ top: `${top}px` }}
      title={picture.error ?? `${picture.name} · ${picture.width} × ${picture.height}`}
      onClick={() => {
        store.panes.value = { left: false, right: false };
        void open(picture.id);
      }}
    >
      <span class="thumb">
        {picture.state !== "failed" && <img src={thumbnailUrl(picture.id)} alt="" loading="lazy" decoding="async" />}
      </span>
      <span class="about">
        <span class="name">{picture.name}</span>
        <span class="sub">
          <i class={`dot ${drafts ? "draft" : picture.state}`} /> {state}
          {picture.objects > 0 && ` · ${picture.objects}`}
          {picture.state === "proposed" && picture.uncertainty !== null && (
            <Doubt value={picture.uncertainty} />
          )}
        </span>
      </span>
    </div>
  );
}

function Doubt({ value }: { value: number }) {
  const text = `Uncertainty ${value.toFixed(2)}: the least certain pictures come first`;
  return (
    <span class="doubt" title={text} role="img" aria-label={text}>
      <i style={{ width: `${Math.round(100 * Math.min(Math.max(value, 0), 1))}%` }} />
    </span>
  );
}

const FILTERS: [Filter, string][] = [
  ["all", "All"],
  ["todo", "To do"],
  ["proposed", "Proposed"],
  ["accepted", "Accepted"],
];

function Filters() {
  const counts = (filter: Filter) =>
    store.pictures.value.filter(
      (one) =>
        filter === "all" || one.state === filter || (filter === "todo" && (one.state === "open" || one.state === "proposed")),
    ).length;
  const failed = counts("failed");
  const all: [Filter, string][] = failed ? [...FILTERS, ["failed", "Broken"]] : FILTERS;
  return (
    <div class="filters">
      <input
        type="search"
        placeholder="Find a picture"
        aria-label="Find a picture by name"
        value={store.search.value}
        onInput={(event) => (store.search.value = event.currentTarget.value)}
      />
      <div class="chips" role="group" aria-label="Which pictures">
        {all.map(([filter, text]) => (
          <button key={filter} class="chip" aria-pressed={store.filter.value === filter} onClick={() => (store.filter.value = filter)}>
            {text} <small>{counts(filter)}</small>
          </button>
        ))}
      </div>
    </div>
  );
}
