/** The classes: choose (1 to 9), add, rename, colour, remove. */

import { useState } from "preact/hooks";

import * as api from "../api";
import type { ClassInfo } from "../contract";
import { takeProject } from "../jobs";
import { chooseClass } from "../objects";
import * as store from "../store";
import { flush, refresh } from "../work";
import { Icon } from "./icons";

/** Far apart, also for most kinds of colour blindness; readable as an outline on light and dark pictures. */
const COLOURS = ["#2f7de1", "#f08a24", "#18a878", "#d94f9b", "#f2cf3b", "#7b5be0", "#3cc4dd", "#b5551d", "#8fbf3f", "#e5484d"];

async function save(classes: ClassInfo[], renamed: Record<string, string> = {}): Promise<void> {
  try {
    await flush();
    const project = await api.putClasses(classes, renamed);
    const chosen = renamed[store.activeClass.value];
    if (chosen) store.activeClass.value = chosen;
    if (Object.keys(renamed).length) store.items.value = store.items.value.map((one) => ({ ...one, class: renamed[one.class] ?? one.class }));
    takeProject(project);
    if (Object.keys(renamed).length) await refresh();
  } catch (error) {
    store.complain(error);
  }
}

export function Classes() {
  const classes = store.project.value!.classes;
  const [editing, setEditing] = useState<string | null>(null);
  return (
    <section aria-labelledby="classes-title">
      <h2 id="classes-title">Classes</h2>
      <ul class="classes">
        {classes.map((one, index) =>
          editing === one.name ? (
            <Edit key={one.name} info={one} done={() => setEditing(null)} />
          ) : (
            <li key={one.name} class={`class${store.activeClass.value === one.name ? " mine" : ""}`}>
              <button class="pick" aria-pressed={store.activeClass.value === one.name} onClick={() => chooseClass(one.name)}>
                <i class="swatch" style={{ background: one.color }} />
                <span class="name">{one.name}</span>
                {index < 9 && <kbd>{index + 1}</kbd>}
              </button>
              <button class="ghost quiet" aria-label={`Change class ${one.name}`} title="Rename, colour, remove" onClick={() => setEditing(one.name)}>
                <Icon name="pencil" size={15} />
              </button>
            </li>
          ),
        )}
      </ul>
      <Add />
    </section>
  );
}

function Add() {
  const [name, setName] = useState("");
  const classes = store.project.value!.classes;
  const add = async (event: Event) => {
    event.preventDefault();
    const wanted = name.trim();
    if (!wanted) return;
    if (classes.some((one) => one.name === wanted)) return store.say(`There is a class ${wanted} already.`);
    const used = new Set(classes.map((one) => one.color));
    const color = COLOURS.find((one) => !used.has(one)) ?? COLOURS[classes.length % COLOURS.length]!;
    await save([...classes, { name: wanted, color }]);
    store.activeClass.value = wanted;
    setName("");
  };
  return (
    <form class="add" onSubmit={(event) => void add(event)}>
      <input aria-label="Name of a new class" placeholder={classes.length ? "Add a class" : "Name your first class"} value={name} maxLength={80} onInput={(event) => setName(event.currentTarget.value)} />
      <button class="plain" aria-label="Add the class" disabled={!name.trim()}>
        <Icon name="plus" size={16} />
      </button>
    </form>
  );
}

function Edit({ info, done }: { info: ClassInfo; done: () => void }) {
  const classes = store.project.value!.classes;
  const [name, setName] = useState(info.name);
  const [color, setColor] = useState(info.color);
  const apply = async (event: Event) => {
    event.preventDefault();
    const wanted = name.trim() || info.name;
    const next = classes.map((one) => (one.name === info.name ? { name: wanted, color } : one));
    await save(next, wanted === info.name ? {} : { [info.name]: wanted });
    done();
  };
  const remove = async () => {
    await save(classes.filter((one) => one.name !== info.name));
    done();
  };
  return (
    <li>
      <form class="add" onSubmit={(event) => void apply(event)} onKeyDown={(event) => event.key === "Escape" && done()}>
        <input type="color" aria-label="Colour" value={color} onInput={(event) => setColor(event.currentTarget.value)} />
        <input aria-label="Name of the class" value={name} maxLength={80} ref={(field) => field?.focus()} onInput={(event) => setName(event.currentTarget.value)} />
        <button class="plain" aria-label="Apply">
          <Icon name="check" size={16} />
        </button>
        <button type="button" class="ghost" aria-label={`Remove class ${info.name}`} onClick={() => void remove()}>
          <Icon name="trash" size={16} />
        </button>
      </form>
    </li>
  );
}
