/** Icons: outlines on a 20 × 20 grid, in the color of the text. */

const PATHS = {
  prompt: "M10 2v4M10 14v4M2 10h4M14 10h4M10 9v2M9 10h2",
  brush: "M17 3l-7.5 7.5M9.5 10.5a3 3 0 0 0-4 2.5c0 2-1.5 2.5-2.5 3 3 1.5 7 .5 7.5-2.5a3 3 0 0 0-1-3z",
  eraser: "M8 16l-4.5-4.5a1.5 1.5 0 0 1 0-2L10 3a1.5 1.5 0 0 1 2 0l4.5 4.5a1.5 1.5 0 0 1 0 2L10 16zM6 7.5l6.5 6.5M8 16h9",
  polygon: "M4 6l8-3 5 6-4 8-9-3zM4 6v8",
  select: "M4 3l12 6-5 2-2 5.5z",
  undo: "M7 4L3 8l4 4M3 8h9a4.5 4.5 0 0 1 0 9H8",
  redo: "M13 4l4 4-4 4M17 8H8a4.5 4.5 0 0 0 0 9h4",
  eye: "M1.5 10S4.5 4.5 10 4.5 18.5 10 18.5 10 15.5 15.5 10 15.5 1.5 10 1.5 10zM10 7.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5z",
  eyeOff: "M3 3l14 14M8 5a8 8 0 0 1 2-.5c5.5 0 8.5 5.5 8.5 5.5a14 14 0 0 1-2.5 3.2M5 6.2A14 14 0 0 0 1.5 10S4.5 15.5 10 15.5a8 8 0 0 0 3.3-.7",
  trash: "M3 5.5h14M8 5V3h4v2M5 5.5l.8 11.5h8.4L15 5.5M8.5 8.5v5.5M11.5 8.5v5.5",
  plus: "M10 4v12M4 10h12",
  minus: "M4 10h12",
  left: "M12.5 4l-6 6 6 6",
  right: "M7.5 4l6 6-6 6",
  check: "M4 10.5l4 4 8-9",
  close: "M5 5l10 10M15 5L5 15",
  help: "M7 7.5a3 3 0 1 1 4.5 2.6c-1 .6-1.5 1.2-1.5 2.4M10 15.5v.5",
  sun: "M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM10 1.5v2M10 16.5v2M1.5 10h2M16.5 10h2M4 4l1.4 1.4M14.6 14.6L16 16M4 16l1.4-1.4M14.6 5.4L16 4",
  moon: "M16.5 12A7 7 0 0 1 8 3.5a7 7 0 1 0 8.5 8.5z",
  auto: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM10 3a7 7 0 0 1 0 14z",
  download: "M10 3v10M6 9l4 4 4-4M3 16.5h14",
  upload: "M10 13V3M6 7l4-4 4 4M3 16.5h14",
  compare: "M3 4h6v12H3zM11 4h6v12h-6z",
  heatmap: "M3 3h14v14H3zM3 8h14M3 12.5h14M8 3v14M12.5 3v14",
  spark: "M10 2.5l1.8 5.7L17.5 10l-5.7 1.8L10 17.5l-1.8-5.7L2.5 10l5.7-1.8z",
  preview: "M3 7V5a2 2 0 0 1 2-2h2M13 3h2a2 2 0 0 1 2 2v2M3 13v2a2 2 0 0 0 2 2h2M13 17h2a2 2 0 0 0 2-2v-2M10 10v.01",
  find: "M9 3.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM13 13l4 4",
  list: "M3 5h14M3 10h14M3 15h14",
  panel: "M3 4h14v12H3zM12.5 4v12",
  pencil: "M4 16l.7-3.3L13.5 4l2.5 2.5-8.7 8.7z",
};

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 18 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" width={size} height={size} viewBox="0 0 20 20" aria-hidden="true">
      <path d={PATHS[name]} fill="none" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" stroke-linejoin="round" />
    </svg>
  );
}
