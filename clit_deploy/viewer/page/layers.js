// The layers of an image as OpenSeadragon's tile sources. `plain` has the image's own pixels and
// fewer; `bicubic` and the plans have the levels above.

const {TileSource} = OpenSeadragon;

// A level is used up to this part of its own size, so what is shown is never enlarged by more than
// a seventh before the next level comes.
export const SHARP = 0.76;

export function isPlan(layer) {
  return /^\d+$/.test(layer);
}

export class Layer extends TileSource {
  constructor(image, layer, {tile, overlap}, loader) {
    const first = layer === 'plain' ? 0 : image.own + 1;
    const scales = layer === 'plain' ? image.scales.slice(0, image.own + 1) : image.scales.slice(first);
    const largest = scales[scales.length - 1];
    super({
      width: image.width * largest, height: image.height * largest,
      tileSize: tile, tileOverlap: overlap, minLevel: 0, maxLevel: scales.length - 1,
    });
    Object.assign(this, {image, layer, first, scales, loader});
    this.getLevelScale = level => scales[level] / largest;
  }

  getTileUrl(level, col, row) {
    return `tiles/${this.image.id}/${this.layer}/${this.first + level}/${col}/${row}.png`;
  }

  // The level that is shown at a zoom: the largest one that is not reduced by too much.
  levelAt(zoom) {
    const level = this.scales.findLastIndex(scale => zoom / scale >= SHARP);
    return Math.max(level, 0);
  }

  downloadTileStart(job) {
    this.loader.add(job);
  }

  downloadTileAbort(job) {
    this.loader.remove(job);
  }
}
