/** Name, how far the work is, whether it is saved, what runs, export, theme, keys. */

import { retry } from "../sheets";
import * as store from "../store";
import { panes, saving, connected, dialog, job, project, theme } from "../store";
import { Icon } from "./icons";
import { words } from "./wording";

export function Header() {
  const now = project.value!;
  const toggle = (side: "left" | "right") => () => {
    panes.value = { left: false, right: false, [side]: !panes.value[side] };
  };
  return (
    <header class="header">
      <button class="ghost only-narrow" aria-label="Pictures" aria-expanded={panes.value.left} onClick={toggle("left")}>
        <Icon name="list" />
      </button>
      <h1 title={`${now.name} · base ${now.base} · samtailor ${now.version}`}>
        <span class="brand">samtailor</span> <span class="name">{now.name}</span>
      </h1>
      <Progress />
      <span class="grow" />
      <JobChip />
      <SaveChip />
      <button class="plain" id="export" onClick={() => (dialog.value = "export")}>
        <Icon name="download" /> Export
      </button>
      <ThemeButton />
      <button class="ghost" aria-label="Keys and help" title="Keys and help (?)" onClick={() => (dialog.value = "help")}>
        <Icon name="help" />
      </button>
      <button class="ghost only-narrow" aria-label="Classes, objects, models" aria-expanded={panes.value.right} onClick={toggle("right")}>
        <Icon name="panel" />
      </button>
    </header>
  );
}

function Progress() {
  const pictures = store.pictures.value.length;
  const counts = store.counts.value;
  const told = `${counts.accepted} of ${pictures} accepted, ${counts.proposed} proposed`;
  const part = (count: number) => `${(100 * count) / Math.max(pictures, 1)}%`;
  return (
    <div class="progress" title={told}>
      <div class="bar" role="progressbar" aria-label="Accepted pictures" aria-valuenow={counts.accepted} aria-valuemin={0} aria-valuemax={pictures}>
        <i class="accepted" style={{ width: part(counts.accepted) }} />
        <i class="proposed" style={{ width: part(counts.proposed) }} />
      </div>
      <span>
        <b>{counts.accepted}</b>/{pictures}
      </span>
    </div>
  );
}

function JobChip() {
  const now = job.value;
  if (now?.state !== "running") return null;
  return (
    <span class="chip busy" role="status">
      <span class="spinner" /> {words(now)}
    </span>
  );
}

const SAVED = {
  saved: ["Saved", "good"],
  waiting: ["Saving…", ""],
  saving: ["Saving…", ""],
  offline: ["Not saved: server away", "bad"],
  conflict: ["Changed elsewhere", "bad"],
  refused: ["Not saved", "bad"],
} as const;

function SaveChip() {
  const { state, message } = saving.value;
  const [text, kind] = !connected.value && state === "saved" ? ["Server away", "bad"] : SAVED[state];
  const open = () => (state === "conflict" ? (dialog.value = "conflict") : retry());
  return (
    <button class={`chip save ${kind}`} id="save-state" data-state={state} title={message ?? "Every change is saved as it happens"} onClick={open}>
      <span role="status">{text}</span>
    </button>
  );
}

const THEMES = { auto: "light", light: "dark", dark: "auto" } as const;
const NAMES = { auto: "Colours of the system", light: "Light", dark: "Dark" };

function ThemeButton() {
  const now = theme.value;
  const icon = now === "light" ? "sun" : now === "dark" ? "moon" : "auto";
  return (
    <button class="ghost" aria-label={`Theme: ${NAMES[now]}. Change.`} title={`Theme: ${NAMES[now]}`} onClick={() => (theme.value = THEMES[now])}>
      <Icon name={icon} />
    </button>
  );
}
