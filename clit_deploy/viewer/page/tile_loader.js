// Fetches tiles: those in view, nearest to the middle first, a few at a time. A tile that is not in
// view any more is aborted and kept back, and fetched when it is seen again.

import {isPlan} from './layers.js';

const AT_ONCE = {network: 3, other: 2};
const RETRY = 5000; // milliseconds

export class TileLoader extends EventTarget {
  constructor() {
    super();
    this.page = crypto.randomUUID().replaceAll('-', '');
    this.generation = 0;
    this.jobs = new Map(); // job -> {controller, failed}
    this.decoding = new Set(); // tiles
    this.view = null;
    this.planned = false;
  }

  // What is in view: `wants(item, tile)`, `distance(tile)` from the middle, and a name that changes
  // when all earlier requests of the network are void.
  look(view) {
    if (view.name !== this.view?.name) this.generation += 1;
    this.view = view;
    this.plan();
  }

  add(job) {
    this.jobs.set(job, {controller: null, failed: 0});
    this.plan();
  }

  remove(job) {
    this.jobs.get(job)?.controller?.abort();
    this.jobs.delete(job);
  }

  // Forget the tiles of layers that are not shown any more.
  forget(layer) {
    for (const job of [...this.jobs.keys()]) if (job.source === layer) this.remove(job);
    for (const tile of this.decoding) if (tile.tiledImage.source === layer) this.decoding.delete(tile);
  }

  get wanted() {
    return [...this.jobs.keys()].filter(job => this.view?.wants(job.tile.tiledImage, job.tile));
  }

  // Whether OpenSeadragon still decodes a tile that was fetched.
  get decodes() {
    for (const tile of this.decoding) if (tile.loaded || !tile.loading) this.decoding.delete(tile);
    return this.decoding.size > 0;
  }

  plan() {
    if (this.planned) return;
    this.planned = true;
    queueMicrotask(() => {
      this.planned = false;
      this.dispatch();
    });
  }

  dispatch() {
    const wanted = new Set(this.wanted);
    const free = {...AT_ONCE};
    for (const [job, state] of this.jobs) {
      if (!state.controller) continue;
      if (!wanted.has(job)) {
        state.controller.abort();
        state.controller = null;
      } else free[kind(job)] -= 1;
    }
    const now = performance.now();
    const waiting = [...wanted].filter(job => {
      const state = this.jobs.get(job);
      return !state.controller && now - state.failed > (state.failed ? RETRY : -1);
    });
    waiting.sort((a, b) => this.view.distance(a.tile) - this.view.distance(b.tile));
    for (const job of waiting) {
      if (free[kind(job)] <= 0) continue;
      free[kind(job)] -= 1;
      this.fetch(job);
    }
    this.dispatchEvent(new Event('progress'));
  }

  async fetch(job) {
    const state = this.jobs.get(job);
    const controller = state.controller = new AbortController();
    const headers = isPlan(job.source.layer) ? {'X-View': `${this.page}:${this.generation}`} : {};
    try {
      const response = await fetch(job.src, {headers, signal: controller.signal});
      if (response.status === 200) {
        const blob = await response.blob();
        if (state.controller !== controller) return;
        this.jobs.delete(job);
        this.decoding.add(job.tile);
        job.finish(blob, null, 'rasterBlob');
      } else if (response.status !== 204) {
        state.failed = performance.now();
        setTimeout(() => this.plan(), RETRY + 100);
        this.dispatchEvent(new CustomEvent('failed', {detail: await sentence(response)}));
      }
    } catch (error) {
      if (error.name !== 'AbortError' && state.controller === controller) {
        state.failed = performance.now();
        setTimeout(() => this.plan(), RETRY + 100);
        this.dispatchEvent(new CustomEvent('failed', {detail: 'The viewer does not answer.'}));
      }
    } finally {
      if (state.controller === controller) state.controller = null;
      this.plan();
    }
  }
}

function kind(job) {
  return isPlan(job.source.layer) ? 'network' : 'other';
}

export async function sentence(response) {
  try {
    return (await response.json()).error;
  } catch {
    return `The viewer answered ${response.status}.`;
  }
}
