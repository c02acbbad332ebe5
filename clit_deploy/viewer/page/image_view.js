// One image on the screen: OpenSeadragon with the layers of the image, and zoom in pixels of the
// screen for each pixel of the image.

import {Layer} from './layers.js';
import {TileLoader} from './tile_loader.js';

const {Point, Rect} = OpenSeadragon;
const NOISE = 1e-4;
const NEAR = 0.02; // a zoom this near to a level becomes that level

export class ImageView extends EventTarget {
  constructor(element, state) {
    super();
    this.state = state;
    this.image = null;
    this.split = 1; // part of the width that the first plan has
    this.items = {};
    this.loader = new TileLoader();
    this.viewer = OpenSeadragon({
      element, drawer: 'canvas', showNavigationControl: false, imageLoaderLimit: 0,
      timeout: 2 ** 31 - 1, maxTilesPerFrame: 16, maxImageCacheCount: 300, minPixelRatio: 0.76,
      immediateRender: true, blendTime: 0, animationTime: 0.4, zoomPerScroll: 1.25,
      visibilityRatio: 0.3, gestureSettingsMouse: {clickToZoom: false, dblClickToZoom: true},
    });
    const viewer = this.viewer;
    viewer.addHandler('canvas-key', event => {
      // OpenSeadragon rotates and flips by keys.
      event.preventDefaultAction = !/^(Arrow|[+=\-_wasd]$)/i.test(event.originalEvent.key);
    });
    for (const name of ['animation', 'viewport-change', 'resize', 'open'])
      viewer.addHandler(name, () => this.moved());
    viewer.addHandler('animation-finish', () => this.snap());
    viewer.addHandler('resize', () => this.limit());
    this.loader.addEventListener('progress', () => this.report());
  }

  get ratio() { return window.devicePixelRatio || 1; }

  // Pixels of the screen for each pixel of the image.
  get zoom() { return this.zoomOf(this.viewer.viewport.getZoom(true)); }

  // Where an animation is going.
  get nextZoom() { return this.zoomOf(this.viewer.viewport.getZoom(false)); }

  zoomOf(level) { return level * this.width / this.image.width; }

  get width() { return this.viewer.viewport.getContainerSize().x * this.ratio; }

  get largest() { return this.state.largest; }

  async open(image, layers) {
    this.close();
    this.image = image;
    await this.add('plain');
    for (const layer of layers) await this.add(layer);
    this.limit();
  }

  close() {
    for (const layer of Object.keys(this.items)) this.remove(layer);
    this.image = null;
  }

  add(layer) {
    const source = new Layer(this.image, layer, this.state, this.loader);
    return new Promise(resolve => this.viewer.addTiledImage({
      tileSource: source, x: 0, y: 0, width: 1,
      success: ({item}) => {
        this.items[layer] = item;
        this.moved();
        resolve(item);
      },
    }));
  }

  remove(layer) {
    const item = this.items[layer];
    if (!item) return;
    delete this.items[layer];
    this.loader.forget(item.source);
    this.viewer.world.removeItem(item);
  }

  limit() {
    if (!this.image) return;
    const {viewport} = this.viewer;
    const own = this.image.width / this.width;
    viewport.maxZoomLevel = this.largest * own;
    viewport.minZoomLevel = Math.min(viewport.getHomeZoom() * 0.8, own);
  }

  fit(immediately = false) {
    const {viewport} = this.viewer;
    viewport.zoomTo(Math.min(viewport.getHomeZoom(), viewport.maxZoomLevel), null, immediately);
    viewport.panTo(new Point(0.5, 0.5 * this.image.height / this.image.width), immediately);
  }

  zoomTo(zoom, immediately = false) {
    const {viewport} = this.viewer;
    const level = Math.min(zoom, this.largest) * this.image.width / this.width;
    viewport.zoomTo(Math.max(level, viewport.minZoomLevel), null, immediately);
  }

  // Move a point of the image, in its pixels, to the middle.
  panTo(x, y, immediately = false) {
    this.viewer.viewport.panTo(new Point(x / this.image.width, y / this.image.width), immediately);
  }

  // The part of the image that is shown: left, top, width and height in its pixels.
  get window() {
    const {width, height} = this.image;
    const bounds = this.viewer.viewport.getBounds(true);
    const [left, right] = [bounds.x, bounds.x + bounds.width].map(x => clamp(x * width, width));
    const [top, bottom] = [bounds.y, bounds.y + bounds.height].map(y => clamp(y * width, height));
    return [left, top, right - left, bottom - top];
  }

  // The point of the image under a point of the element; null outside.
  pointAt(x, y) {
    if (!this.image) return null;
    const at = this.viewer.viewport.pointFromPixel(new Point(x, y), true).times(this.image.width);
    const inside = at.x >= 0 && at.y >= 0 && at.x < this.image.width && at.y < this.image.height;
    return inside ? [at.x, at.y] : null;
  }

  // Where a point of the image is in the element.
  placeOf(x, y) {
    const at = this.viewer.viewport.pixelFromPoint(
      new Point(x / this.image.width, y / this.image.width), true);
    return [at.x, at.y];
  }

  moved() {
    if (!this.image || !this.items.plain) return;
    const enlarged = this.zoom > 1 + NEAR / 2;
    for (const [layer, item] of Object.entries(this.items)) {
      if (layer === 'plain') continue;
      const opacity = Number(enlarged);
      if (item.getOpacity() !== opacity) item.setOpacity(opacity);
    }
    this.clip();
    this.look();
    this.report();
    this.dispatchEvent(new Event('moved'));
  }

  // The layer above shows the right part of the view only.
  clip() {
    const above = this.items[this.above];
    if (!above) return;
    const bounds = this.viewer.viewport.getBounds(true);
    const border = bounds.x + bounds.width * this.split;
    const {x, y} = above.source.dimensions;
    const left = Math.min(Math.max(border, 0), 1) * x;
    const clip = new Rect(left, 0, Math.max(x - left, 0.001), y);
    if (!above.getClip()?.equals(clip)) above.setClip(clip); // a clip counts as a movement
  }

  look() {
    const {viewport} = this.viewer;
    const bounds = viewport.getBounds(false);
    const border = bounds.x + bounds.width * this.split;
    const zoom = this.nextZoom;
    const middle = bounds.getCenter();
    const above = this.items[this.above];
    const shown = item => {
      if (item === above)
        return new Rect(border, bounds.y, bounds.x + bounds.width - border, bounds.height);
      const below = above && item !== this.items.plain;
      return below ? new Rect(bounds.x, bounds.y, border - bounds.x, bounds.height) : bounds;
    };
    const levels = Object.values(this.items).map(item => item.source.levelAt(zoom));
    this.loader.look({
      name: [this.image.id, ...Object.keys(this.items), ...levels].join('/'),
      wants: (item, tile) => Object.values(this.items).includes(item) && item.getOpacity() > 0
        && (zoom > 1 || item === this.items.plain)
        && tile.level === item.source.levelAt(zoom) && overlap(tile.bounds, shown(item)),
      distance: tile => tile.bounds.getCenter().squaredDistanceTo(middle),
    });
  }

  // A zoom near to a level becomes the level, on whole pixels of the screen: then nothing is
  // resampled.
  snap() {
    if (!this.image) return;
    const {viewport} = this.viewer;
    const level = this.image.scales.find(scale => Math.abs(this.zoom / scale - 1) < NEAR);
    if (level) {
      if (Math.abs(this.zoom / level - 1) > NOISE) this.zoomTo(level, true);
      const corner = viewport.getBounds(true).getTopLeft().times(this.image.width * level);
      const shift = new Point(Math.round(corner.x), Math.round(corner.y)).minus(corner);
      // Every movement ends with a snap, so nothing may move twice.
      if (Math.max(Math.abs(shift.x), Math.abs(shift.y)) > NOISE)
        viewport.panTo(viewport.getCenter(true).plus(shift.divide(this.image.width * level)), true);
    }
    this.moved();
    this.dispatchEvent(new Event('rested'));
  }

  // Say how many tiles are missing. None is missing only if that holds for some frames, because
  // OpenSeadragon asks for tiles when it draws.
  report() {
    const missing = this.loader.wanted.length;
    cancelAnimationFrame(this.frame);
    if (missing) this.dispatchEvent(new CustomEvent('progress', {detail: missing}));
    else this.wait(4);
  }

  wait(frames) {
    this.frame = requestAnimationFrame(() => {
      if (frames) this.wait(frames - 1);
      else if (this.viewer.isAnimating() || this.loader.decodes) this.wait(1);
      else this.dispatchEvent(new CustomEvent('progress', {detail: 0}));
    });
  }
}

function clamp(value, most) {
  return Math.min(Math.max(value, 0), most);
}

function overlap(a, b) {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}
