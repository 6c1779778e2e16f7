/** Project name, progress, running job, save status, export, theme, help. */

import type { SaveState } from "../autosave";
import { retrySaving } from "../documents";
import * as store from "../store";
import { jobSummary } from "./format";
import { Icon } from "./Icon";
import { IconButton } from "./IconButton";

export function Header() {
  const project = store.project.value!;
  return (
    <header class="header">
      <PanelButton side="left" label="Images" />
      <h1 title={`${project.name} · base model ${project.base} · samtailor ${project.version}`}>
        <span class="brand">samtailor</span> <span class="name">{project.name}</span>
      </h1>
      <Progress />
      <span class="grow" />
      <JobStatus />
      <SaveStatus />
      <button class="plain" id="import" title="Import existing annotations" onClick={() => (store.dialog.value = "import")}>
        <Icon name="upload" /> Import
      </button>
      <button class="plain" id="export" onClick={() => (store.dialog.value = "export")}>
        <Icon name="download" /> Export
      </button>
      <ThemeButton />
      <IconButton icon="help" label="Help and shortcuts (?)" onClick={() => (store.dialog.value = "help")} />
      <PanelButton side="right" label="Classes, objects and models" />
    </header>
  );
}

/** Opens a side panel on screens that are too narrow to show it all the time. */
function PanelButton({ side, label }: { side: "left" | "right"; label: string }) {
  const open = store.openPanel.value === side;
  return (
    <button class="ghost only-narrow" aria-label={label} aria-expanded={open} onClick={() => (store.openPanel.value = open ? null : side)}>
      <Icon name={side === "left" ? "list" : "panel"} />
    </button>
  );
}

function Progress() {
  const total = store.images.value.length;
  const { accepted, proposed } = store.stateCounts.value;
  const width = (count: number) => `${(100 * count) / Math.max(total, 1)}%`;
  return (
    <div class="progress" title={`${accepted} of ${total} images accepted, ${proposed} proposed`}>
      <div class="bar" role="progressbar" aria-label="Accepted images" aria-valuenow={accepted} aria-valuemin={0} aria-valuemax={total}>
        <i class="accepted" style={{ width: width(accepted) }} />
        <i class="proposed" style={{ width: width(proposed) }} />
      </div>
      <span>
        <b>{accepted}</b>/{total}
      </span>
    </div>
  );
}

function JobStatus() {
  const job = store.job.value;
  if (job?.state !== "running") return null;
  return (
    <span class="chip busy" role="status">
      <span class="spinner" /> {jobSummary(job)}
    </span>
  );
}

const SAVE_LABELS: Record<SaveState, { text: string; kind: "good" | "bad" | "" }> = {
  saved: { text: "Saved", kind: "good" },
  waiting: { text: "Saving…", kind: "" },
  saving: { text: "Saving…", kind: "" },
  offline: { text: "Not saved: no connection", kind: "bad" },
  conflict: { text: "Save conflict", kind: "bad" },
  rejected: { text: "Not saved", kind: "bad" },
};

function SaveStatus() {
  const { state, message } = store.saveStatus.value;
  const disconnected = !store.connected.value && state === "saved";
  const { text, kind } = disconnected ? { text: "No connection", kind: "bad" } : SAVE_LABELS[state];
  const onClick = () => (state === "conflict" ? (store.dialog.value = "conflict") : retrySaving());
  return (
    <button
      class={`chip save ${kind}`}
      id="save-state"
      data-state={state}
      title={message ?? "Changes are saved automatically"}
      onClick={onClick}
    >
      <span role="status">{text}</span>
    </button>
  );
}

const THEMES = {
  auto: { icon: "auto", label: "Theme: system", next: "light" },
  light: { icon: "sun", label: "Theme: light", next: "dark" },
  dark: { icon: "moon", label: "Theme: dark", next: "auto" },
} as const;

function ThemeButton() {
  const { icon, label, next } = THEMES[store.theme.value];
  return <IconButton icon={icon} label={label} onClick={() => (store.theme.value = next)} />;
}
