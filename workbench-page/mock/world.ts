/** The server of the contract, made up: ellipses and boxes as objects; a click gives the shape under it. */

import type { Annotations, Job, ObjectRecord, Picture, Point, Polygon, Project, Prompts, Rle } from "../src/contract";
import { type Mask, area, boxOf, emptyMask, fromRle, grown, holds, toRle, trimmed } from "../src/mask";

interface Answer {
  status: number;
  type: string;
  body: string;
}
interface Shape {
  x: number;
  y: number;
  rx: number;
  ry: number;
  colour: string;
}

const [WIDTH, HEIGHT] = [640, 480];
const COLOURS = ["#c8553d", "#3d7ec8", "#5aa469", "#c9a227", "#7d5ba6"];

export class World {
  private shapes = new Map<string, Shape[]>();
  private records = new Map<string, Annotations>();
  private rows = new Map<string, Picture>();
  private told = new Set<(name: string, data: unknown) => void>();
  project: Project;

  constructor(pictures = 24) {
    let seed = 7;
    const random = () => ((seed = (seed * 16807) % 2147483647), seed / 2147483647);
    for (let index = 0; index < pictures; index++) {
      const id = `p${index}`;
      const shapes = Array.from({ length: 2 + Math.floor(random() * 3) }, (_, k) => ({
        x: 100 + random() * 440,
        y: 90 + random() * 300,
        rx: 30 + random() * 70,
        ry: 25 + random() * 50,
        colour: COLOURS[(index + k) % COLOURS.length]!,
      }));
      this.shapes.set(id, shapes);
      this.records.set(id, { revision: 0, state: "open", objects: [] });
      const name = `street_${String(index + 1).padStart(3, "0")}.jpg`;
      this.rows.set(id, { id, name, width: WIDTH, height: HEIGHT, state: "open", objects: 0, uncertainty: null, error: null });
    }
    this.project = {
      name: "mock",
      base: "nano",
      classes: [
        { name: "banner", color: "#2f7de1" },
        { name: "plate", color: "#f08a24" },
      ],
      pictures,
      counts: { open: pictures, proposed: 0, accepted: 0, failed: 0 },
      minimum: 4,
      adapters: [],
      job: null,
      formats: ["coco", "yolo", "masks", "labelme"],
      version: "0.0",
    };
  }

  listen(take: (name: string, data: unknown) => void): () => void {
    this.told.add(take);
    return () => this.told.delete(take);
  }

  answer(method: string, url: string, body: any): Answer {
    const [path = "", query = ""] = url.split("?");
    const [head, id = "", verb] = path.split("/").filter(Boolean);
    if (head === "project") return json(this.fresh());
    if (head === "classes") return json(this.setClasses(body));
    if (head === "pictures" && !id) return json([...this.rows.values()]);
    if (head === "pictures") return this.picture(method, id, verb ?? "", body, new URLSearchParams(query));
    if (head === "jobs" && method === "POST") return this.start(id as Job["kind"], body);
    if (head === "jobs") return json(this.project.job);
    if (head === "adapters") return this.adapter(method, id);
    if (head === "export") return json({ name: "mock-coco", files: 1, pictures: 4, objects: 9, url: "/api/exports/mock-coco.zip", folder: "/tmp/mock" });
    return json({ error: `No such thing: ${path}` }, 404);
  }

  private picture(method: string, id: string, verb: string, body: any, query: URLSearchParams): Answer {
    const row = this.rows.get(id);
    if (!row) return json({ error: "No such picture." }, 404);
    if (verb === "image" || verb === "thumbnail") return { status: 200, type: "image/svg+xml", body: this.svg(id) };
    if (verb === "encode") return json({ seconds: 0.1 });
    if (verb === "annotations") return method === "GET" ? json(this.records.get(id)) : this.save(row, body);
    if (verb === "segment") return json({ masks: this.masks(id, body), milliseconds: 12 });
    if (verb === "compare") {
      const [best] = this.masks(id, body);
      const answers = body.adapters.map((adapter: string | null) => ({
        adapter,
        mask: { rle: best!.rle, predicted_iou: adapter ? 0.93 : 0.81 },
        milliseconds: 9,
      }));
      return json({ answers, encode_once: true });
    }
    if (verb === "iou-map") return json(this.map(id, query.get("object")!));
    if (verb === "auto") return json({ objects: this.found(id, body.adapter) });
    if (verb === "polygon") return json({ polygons: [boxPolygon(fromRle(body.rle))] });
    if (verb === "rasterise") return json(rasterised(body.polygons));
    return json({ error: "No such verb." }, 404);
  }

  private save(row: Picture, body: Annotations): Answer {
    const record = this.records.get(row.id)!;
    if (body.revision !== record.revision) return json({ error: "Changed elsewhere.", record }, 409);
    this.put(row.id, { ...body, revision: record.revision + 1 });
    return json({ revision: record.revision + 1 });
  }

  private put(id: string, record: Annotations, uncertainty: number | null = null): void {
    this.records.set(id, record);
    const row = { ...this.rows.get(id)!, state: record.state, objects: record.objects.length, uncertainty };
    this.rows.set(id, row);
    this.tell("picture", row);
    this.tell("project", this.fresh());
  }

  private tell(name: string, data: unknown): void {
    this.told.forEach((take) => take(name, data));
  }

  private fresh(): Project {
    const counts = { open: 0, proposed: 0, accepted: 0, failed: 0 };
    for (const row of this.rows.values()) counts[row.state] += 1;
    return (this.project = { ...this.project, counts });
  }

  private setClasses({ classes, renamed }: { classes: Project["classes"]; renamed: Record<string, string> }): Project {
    for (const record of this.records.values()) {
      for (const one of record.objects) one.class = renamed[one.class] ?? one.class;
    }
    this.project = { ...this.project, classes };
    return this.fresh();
  }

  private mask(shape: Shape, grow = 1): Mask {
    const [rx, ry] = [shape.rx * grow, shape.ry * grow];
    return drawn([shape.x - rx, shape.y - ry, shape.x + rx, shape.y + ry], ([x, y]) => ((x - shape.x) / rx) ** 2 + ((y - shape.y) / ry) ** 2 <= 1);
  }

  private masks(id: string, { points, box }: Prompts) {
    const at: Point = points[0] ?? [(box![0] + box![2]) / 2, (box![1] + box![3]) / 2];
    const shape = this.shapes.get(id)!.find((one) => holds(this.mask(one), at));
    const shapes = shape ? [1, 1.25, 0.7].map((grow) => this.mask(shape, grow)) : [this.mask({ x: at[0], y: at[1], rx: 24, ry: 18, colour: "" })];
    return shapes.map((mask, index) => ({ rle: toRle(mask), predicted_iou: 0.94 - 0.2 * index, box: boxOf(mask), area: area(mask) }));
  }

  private found(id: string, adapter: string): ObjectRecord[] {
    return this.shapes.get(id)!.map((shape, index) => ({
      id: `${id}-${index}-${adapter}`,
      class: this.project.classes[0]!.name,
      rle: toRle(this.mask(shape)),
      source: "auto",
      adapter,
      score: 0.9 - 0.1 * index,
      uncertainty: 0.1 + 0.1 * index,
      clicks: 0,
      prompts: { points: [[shape.x, shape.y]], labels: [1], box: null },
    }));
  }

  private map(id: string, object: string) {
    const mask = fromRle(this.records.get(id)!.objects.find((one) => one.id === object)!.rle);
    const [cx, cy] = [mask.x + mask.w / 2, mask.y + mask.h / 2];
    const x = Array.from({ length: 16 }, (_, k) => ((k + 0.5) * WIDTH) / 16);
    const y = Array.from({ length: 16 }, (_, k) => ((k + 0.5) * HEIGHT) / 16);
    return { grid: y.map((b) => x.map((a) => Math.exp(-(((a - cx) / 120) ** 2) - ((b - cy) / 90) ** 2))), x, y };
  }

  private start(kind: Job["kind"], body: any): Answer {
    if (this.project.job?.state === "running") return json({ error: "A job is running." }, 409);
    const total = kind === "fit" ? (body.steps ?? 40) : [...this.rows.values()].filter((one) => one.state === "open" && !one.objects).length;
    const none = { seconds_left: null, images_per_second: null, message: null };
    const name = kind === "fit" ? (body.name ?? `fit-${this.project.adapters.length + 1}`) : body.adapter;
    this.project.job = { id: String(Math.random()), kind, state: "running", done: 0, total, stage: kind === "fit" ? "learning" : "labelling", loss: null, miou: null, start_miou: kind === "fit" ? 0.61 : null, adapter: name, ...none };
    this.step();
    return json(this.project.job);
  }

  private step(): void {
    const job = this.project.job!;
    job.done += 1;
    job.seconds_left = (job.total - job.done) * 0.15;
    if (job.kind === "fit") {
      job.loss = 0.9 * Math.exp(-job.done / 12) + 0.05;
      job.miou = 0.61 + 0.3 * (1 - Math.exp(-job.done / 15));
    } else this.label(job);
    if (job.done >= job.total) this.finish(job);
    this.tell("job", { ...job });
    if (job.state === "running") setTimeout(() => this.step(), 150);
  }

  private label(job: Job): void {
    const row = [...this.rows.values()].find((one) => one.state === "open" && !one.objects);
    if (!row) return;
    const objects = this.found(row.id, job.adapter!);
    this.put(row.id, { revision: this.records.get(row.id)!.revision + 1, state: "proposed", objects }, ((row.name.charCodeAt(8) * 7919) % 97) / 97);
  }

  private finish(job: Job): void {
    job.state = "done";
    if (job.kind !== "fit") return;
    const figures = { start_miou: job.start_miou, held_out_miou: job.miou };
    this.project.adapters = [...this.project.adapters, { name: job.adapter!, classes: ["banner"], method: "plm-pmm", auto: true, promptless: false, figures }];
    this.tell("project", this.fresh());
  }

  private adapter(method: string, name: string): Answer {
    if (method === "DELETE") {
      this.project.adapters = this.project.adapters.filter((one) => one.name !== name);
      return json({});
    }
    const pictures = [...this.rows.values()].slice(0, 4).map((row) => {
      const [shape] = this.shapes.get(row.id)!;
      const masks = [1, 0.75, 0.97].map((grow) => toRle(this.mask(shape!, grow)));
      return { id: row.id, name: row.name, class: "banner", object: "0", before_iou: 0.56, after_iou: 0.94, truth: masks[0], before: masks[1], after: masks[2] };
    });
    return json({ pictures });
  }

  private svg(id: string): string {
    const shapes = this.shapes.get(id)!.map((s) => `<ellipse cx="${s.x}" cy="${s.y}" rx="${s.rx}" ry="${s.ry}" fill="${s.colour}"/>`);
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}"><rect width="100%" height="100%" fill="#dfe5e8"/><path d="M0 330h640v150H0z" fill="#b9b2a3"/>${shapes.join("")}</svg>`;
  }
}

function drawn(box: [number, number, number, number], is: (at: Point) => boolean): Mask {
  const mask = grown(emptyMask(WIDTH, HEIGHT), box);
  for (let row = 0; row < mask.h; row++) {
    for (let column = 0; column < mask.w; column++) {
      if (is([mask.x + column + 0.5, mask.y + row + 0.5])) mask.data[row * mask.w + column] = 1;
    }
  }
  return trimmed(mask);
}

function boxPolygon(mask: Mask): Polygon {
  const [x0, y0, x1, y1] = boxOf(mask);
  const [cx, cy] = [(x0 + x1) / 2, (y0 + y1) / 2];
  const outer = Array.from({ length: 12 }, (_, k): Point => [cx + ((x1 - x0) / 2) * Math.cos((k * Math.PI) / 6), cy + ((y1 - y0) / 2) * Math.sin((k * Math.PI) / 6)]);
  return { outer, holes: [] };
}

function rasterised(polygons: Polygon[]): { rle: Rle; area: number; box: number[] } {
  const mask = drawn([0, 0, WIDTH, HEIGHT], (at) => polygons.some((one) => within(one.outer, at)));
  return { rle: toRle(mask), area: area(mask), box: boxOf(mask) };
}

function within(ring: Point[], [x, y]: Point): boolean {
  let odd = false;
  ring.forEach(([ax, ay], index) => {
    const [bx, by] = ring[(index + 1) % ring.length]!;
    if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) odd = !odd;
  });
  return odd;
}

const json = (body: unknown, status = 200): Answer => ({ status, type: "application/json", body: JSON.stringify(body) });
