/** A made-up server for `npm run dev`: images with ellipses; a click returns the ellipse under it. */

import {
  IMAGE_ROUTES,
  ROUTES,
  type AnnotationsBody,
  type EVENTS,
  type WireAnnotations,
  type WireCandidate,
  type WireComparison,
  type WireExport,
  type WireGallery,
  type WireImage,
  type WireJob,
  type WireProject,
} from "../src/contract";
import { type Mask, area, boxOf, containsPoint, emptyMask, fromRle, grown, toRle, trimmed } from "../src/mask";
import type { Box, IouMap, ObjectRecord, Point, Polygon, Prompts, Rle } from "../src/types";

interface Response {
  status: number;
  type: string;
  body: string;
}
interface Ellipse {
  x: number;
  y: number;
  rx: number;
  ry: number;
  color: string;
}
type EventName = keyof typeof EVENTS;
type Listener = (name: EventName, data: unknown) => void;

const [WIDTH, HEIGHT] = [640, 480];
const COLORS = ["#c8553d", "#3d7ec8", "#5aa469", "#c9a227", "#7d5ba6"];

export class MockServer {
  private ellipses = new Map<string, Ellipse[]>();
  private annotations = new Map<string, WireAnnotations>();
  private images = new Map<string, WireImage>();
  private listeners = new Set<Listener>();
  private project: WireProject;

  constructor(count = 24) {
    let seed = 7;
    const random = () => ((seed = (seed * 16807) % 2147483647), seed / 2147483647);
    for (let index = 0; index < count; index++) {
      const id = `image-${index}`;
      const ellipses = Array.from({ length: 2 + Math.floor(random() * 3) }, (_, k) => ({
        x: 100 + random() * 440,
        y: 90 + random() * 300,
        rx: 30 + random() * 70,
        ry: 25 + random() * 50,
        color: COLORS[(index + k) % COLORS.length]!,
      }));
      this.ellipses.set(id, ellipses);
      this.annotations.set(id, { revision: 0, state: "open", objects: [] });
      const number = String(index + 1).padStart(3, "0");
      const name = index % 4 === 1 ? `street_camera-north_2026-11-29_${number}.jpg` : `street_${number}.jpg`;
      this.images.set(id, { id, name, width: WIDTH, height: HEIGHT, state: "open", objects: 0, uncertainty: null, error: null });
    }
    this.project = {
      name: "mock",
      base: "lite",
      classes: [
        { name: "banner", color: "#2f7de1" },
        { name: "plate", color: "#f08a24" },
      ],
      images: count,
      counts: { open: count, proposed: 0, accepted: 0, failed: 0 },
      min_images: 1,
      good_images: 4,
      adapters: [],
      job: null,
      formats: ["coco", "yolo", "masks", "labelme"],
      methods: ["plm-pmm", "decoder"],
      version: "0.0",
    };
  }

  subscribe(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private publish(name: EventName, data: unknown): void {
    this.listeners.forEach((listener) => listener(name, data));
  }

  handle(method: string, url: string, body: any): Response {
    const [path = "", query = ""] = url.split("?");
    const [resource, id = "", action = ""] = path.split("/").filter(Boolean);
    switch (resource) {
      case ROUTES.project:
        return json(this.currentProject());
      case ROUTES.classes:
        return json(this.setClasses(body));
      case ROUTES.images:
        return id ? this.handleImage(method, id, action, body, new URLSearchParams(query)) : json([...this.images.values()]);
      case ROUTES.jobs:
        return method === "POST" ? this.startJob(id as WireJob["kind"], body) : json(this.project.job);
      case ROUTES.adapters:
        return method === "DELETE" ? this.deleteAdapter(id) : json(this.gallery());
      case ROUTES.exports: {
        const result: WireExport = { name: "mock-coco", files: 1, images: 4, objects: 9, url: "/api/exports/mock-coco.zip", folder: "mock/exports/mock-coco", notes: [] };
        return json(result);
      }
      default:
        return json({ error: `Not found: ${path}` }, 404);
    }
  }

  private handleImage(method: string, id: string, action: string, body: any, query: URLSearchParams): Response {
    const image = this.images.get(id);
    if (!image) return json({ error: "Image not found." }, 404);
    switch (action) {
      case IMAGE_ROUTES.image:
      case IMAGE_ROUTES.thumbnail:
        return { status: 200, type: "image/svg+xml", body: this.svg(id) };
      case IMAGE_ROUTES.encode:
        return json({ seconds: 0.1 });
      case IMAGE_ROUTES.annotations:
        return method === "GET" ? json(this.annotations.get(id)) : this.save(image, body);
      case IMAGE_ROUTES.segment:
        return json({ masks: this.candidates(id, body), milliseconds: 12 });
      case IMAGE_ROUTES.compare:
        return json(this.compare(id, body));
      case IMAGE_ROUTES.iouMap:
        return json(this.iouMap(id, query.get("object")!));
      case IMAGE_ROUTES.auto:
        return json({ objects: this.findObjects(id, body.adapter) });
      case IMAGE_ROUTES.toPolygons:
        return json({ polygons: [inscribedPolygon(fromRle(body.rle))] });
      case IMAGE_ROUTES.rasterize:
        return json({ rle: rasterize(body.polygons) });
      default:
        return json({ error: "Not found." }, 404);
    }
  }

  private save(image: WireImage, body: AnnotationsBody): Response {
    const current = this.annotations.get(image.id)!;
    if (body.revision !== current.revision) return json({ error: "Changed elsewhere." }, 409);
    this.store(image.id, { ...body, revision: current.revision + 1 });
    return json({ revision: current.revision + 1 });
  }

  private store(id: string, annotations: WireAnnotations, uncertainty: number | null = null): void {
    this.annotations.set(id, annotations);
    const image = { ...this.images.get(id)!, state: annotations.state, objects: annotations.objects.length, uncertainty };
    this.images.set(id, image);
    this.publish("image", image);
    this.publish("project", this.currentProject());
  }

  private currentProject(): WireProject {
    const counts = { open: 0, proposed: 0, accepted: 0, failed: 0 };
    for (const image of this.images.values()) counts[image.state] += 1;
    return (this.project = { ...this.project, counts });
  }

  private setClasses({ classes, renamed }: { classes: WireProject["classes"]; renamed: Record<string, string> }): WireProject {
    for (const { objects } of this.annotations.values()) {
      for (const one of objects) one.class = renamed[one.class] ?? one.class;
    }
    this.project = { ...this.project, classes };
    return this.currentProject();
  }

  private candidates(id: string, { points, box }: Prompts): WireCandidate[] {
    const at: Point = points[0] ?? [(box![0] + box![2]) / 2, (box![1] + box![3]) / 2];
    const ellipse = this.ellipses.get(id)!.find((one) => containsPoint(ellipseMask(one), at));
    const masks = ellipse
      ? [1, 1.25, 0.7].map((scale) => ellipseMask(ellipse, scale))
      : [ellipseMask({ x: at[0], y: at[1], rx: 24, ry: 18, color: "" })];
    return masks.map((mask, index) => ({ rle: toRle(mask), predicted_iou: 0.94 - 0.2 * index, area: area(mask) }));
  }

  private compare(id: string, body: Prompts & { adapters: (string | null)[] }): WireComparison {
    const { rle } = this.candidates(id, body)[0]!;
    return { results: body.adapters.map((adapter) => ({ adapter, mask: { rle, predicted_iou: adapter ? 0.93 : 0.81 } })) };
  }

  private findObjects(id: string, adapter: string): ObjectRecord[] {
    return this.ellipses.get(id)!.map((ellipse, index) => ({
      id: `${id}-${index}-${adapter}`,
      class: this.project.classes[0]!.name,
      rle: toRle(ellipseMask(ellipse)),
      source: "auto",
      adapter,
      score: 0.9 - 0.1 * index,
      uncertainty: 0.1 + 0.1 * index,
      clicks: 0,
      prompts: { points: [[ellipse.x, ellipse.y]], labels: [1], box: null },
    }));
  }

  private iouMap(id: string, object: string): IouMap {
    const mask = fromRle(this.annotations.get(id)!.objects.find((one) => one.id === object)!.rle);
    const [cx, cy] = [mask.x + mask.w / 2, mask.y + mask.h / 2];
    const x = Array.from({ length: 16 }, (_, k) => ((k + 0.5) * WIDTH) / 16);
    const y = Array.from({ length: 16 }, (_, k) => ((k + 0.5) * HEIGHT) / 16);
    return { grid: y.map((b) => x.map((a) => Math.exp(-(((a - cx) / 120) ** 2) - ((b - cy) / 90) ** 2))), x, y };
  }

  private startJob(kind: WireJob["kind"], body: any): Response {
    if (this.project.job?.state === "running") return json({ error: "A job is already running." }, 409);
    const fit = kind === "fit";
    this.project.job = {
      id: String(Math.random()),
      kind,
      state: "running",
      done: 0,
      total: fit ? (body.steps ?? 40) : this.unlabeled().length,
      stage: kind,
      loss: null,
      miou: null,
      start_miou: fit ? 0.61 : null,
      automatic_miou: null,
      seconds_left: null,
      images_per_second: null,
      message: null,
      adapter: fit ? (body.name ?? `fit-${this.project.adapters.length + 1}`) : body.adapter,
    };
    this.advanceJob();
    return json(this.project.job);
  }

  private unlabeled(): WireImage[] {
    return [...this.images.values()].filter((one) => one.state === "open" && !one.objects);
  }

  private advanceJob(): void {
    const job = this.project.job!;
    job.done += 1;
    job.seconds_left = (job.total - job.done) * 0.15;
    if (job.kind === "fit") {
      job.loss = 0.9 * Math.exp(-job.done / 12) + 0.05;
      job.miou = 0.61 + 0.3 * (1 - Math.exp(-job.done / 15));
    } else this.labelNext(job.adapter!);
    if (job.done >= job.total) this.finishJob(job);
    this.publish("job", { ...job });
    if (job.state === "running") setTimeout(() => this.advanceJob(), 150);
  }

  private labelNext(adapter: string): void {
    const image = this.unlabeled()[0];
    if (!image) return;
    const annotations: WireAnnotations = {
      revision: this.annotations.get(image.id)!.revision + 1,
      state: "proposed",
      objects: this.findObjects(image.id, adapter),
    };
    this.store(image.id, annotations, ((Number(image.id.slice(6)) * 79) % 97) / 97);
  }

  private finishJob(job: WireJob): void {
    job.state = "done";
    if (job.kind !== "fit") return;
    job.automatic_miou = 0.74;
    job.held_out_images = 1;
    const figures = { start_miou: job.start_miou, held_out_miou: job.miou, held_out_region_miou: job.automatic_miou };
    const adapter = { name: job.adapter!, classes: ["banner"], method: "plm-pmm", auto: true, promptless: false, figures };
    this.project.adapters = [...this.project.adapters, adapter];
    this.publish("project", this.currentProject());
  }

  private deleteAdapter(name: string): Response {
    this.project.adapters = this.project.adapters.filter((one) => one.name !== name);
    return json({});
  }

  private gallery(): WireGallery {
    const images = [...this.images.values()].slice(0, 4).map(({ id, name }) => {
      const [ellipse] = this.ellipses.get(id)!;
      const [truth, before, after] = [1, 0.75, 0.97].map((scale) => toRle(ellipseMask(ellipse!, scale))) as [Rle, Rle, Rle];
      return { id, name, class: "banner", object: "0", before_iou: 0.56, after_iou: 0.94, truth, before, after };
    });
    return { images };
  }

  private svg(id: string): string {
    const ellipses = this.ellipses
      .get(id)!
      .map((one) => `<ellipse cx="${one.x}" cy="${one.y}" rx="${one.rx}" ry="${one.ry}" fill="${one.color}"/>`);
    return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${HEIGHT}" viewBox="0 0 ${WIDTH} ${HEIGHT}"><rect width="100%" height="100%" fill="#dfe5e8"/><path d="M0 330h640v150H0z" fill="#b9b2a3"/>${ellipses.join("")}</svg>`;
  }
}

/** The mask of all pixels in a box whose center fulfills a condition. */
function maskWhere(box: Box, inside: (at: Point) => boolean): Mask {
  const mask = grown(emptyMask(WIDTH, HEIGHT), box);
  for (let row = 0; row < mask.h; row++) {
    for (let column = 0; column < mask.w; column++) {
      if (inside([mask.x + column + 0.5, mask.y + row + 0.5])) mask.data[row * mask.w + column] = 1;
    }
  }
  return trimmed(mask);
}

function ellipseMask({ x: cx, y: cy, rx, ry }: Ellipse, scale = 1): Mask {
  const [a, b] = [rx * scale, ry * scale];
  return maskWhere([cx - a, cy - b, cx + a, cy + b], ([x, y]) => ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 <= 1);
}

function inscribedPolygon(mask: Mask): Polygon {
  const [x0, y0, x1, y1] = boxOf(mask);
  const [cx, cy] = [(x0 + x1) / 2, (y0 + y1) / 2];
  const corner = (angle: number): Point => [cx + ((x1 - x0) / 2) * Math.cos(angle), cy + ((y1 - y0) / 2) * Math.sin(angle)];
  return { outer: Array.from({ length: 12 }, (_, k) => corner((k * Math.PI) / 6)), holes: [] };
}

const rasterize = (polygons: Polygon[]): Rle =>
  toRle(maskWhere([0, 0, WIDTH, HEIGHT], (at) => polygons.some((one) => insideRing(one.outer, at))));

/** Even-odd rule. */
function insideRing(ring: Point[], [x, y]: Point): boolean {
  let inside = false;
  ring.forEach(([ax, ay], index) => {
    const [bx, by] = ring[(index + 1) % ring.length]!;
    if (ay > y !== by > y && x < ax + ((y - ay) / (by - ay)) * (bx - ax)) inside = !inside;
  });
  return inside;
}

const json = (body: unknown, status = 200): Response => ({ status, type: "application/json", body: JSON.stringify(body) });
