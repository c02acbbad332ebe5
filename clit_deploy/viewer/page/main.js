// The page: fetch what there is to see, open the image that the address names, and connect the
// controls.

import {addAttention} from './attention.js';
import {addComparison} from './comparison.js';
import {addGallery} from './gallery.js';
import {ImageView} from './image_view.js';
import {showReadout} from './readout.js';
import {addSaving} from './saving.js';

const find = id => document.getElementById(id);
const message = find('message');

function say(text) {
  message.textContent = text ?? '';
  message.hidden = !text;
}

async function start() {
  const state = await (await fetch('state')).json();
  const view = new ImageView(find('viewer'), state);
  find('viewer').view = view; // for the console of the browser, and for tests
  const layers = ['0'];

  const open = async (image, place) => {
    say('');
    await view.open(image, layers);
    if (place) {
      view.zoomTo(place.z, true);
      view.panTo(place.x, place.y, true);
    } else view.fit(true);
    view.snap();
    gallery.choose(image);
    document.body.toggleAttribute('data-alpha', image.alpha);
    document.title = `${image.name} – clit-deploy view`;
    view.dispatchEvent(new Event('opened'));
  };

  const gallery = addGallery(view, find, say, open);
  showReadout(view, find);
  addComparison(view, find, layers);
  addAttention(view, find, say);
  addSaving(view, find);

  view.loader.addEventListener('failed', event => say(event.detail));
  view.addEventListener('progress', ({detail: missing}) => {
    document.body.dataset.view = missing ? 'loading' : 'complete';
    find('progress').textContent = missing ? `${missing} tiles to come` : '';
    if (!missing) say('');
  });
  view.addEventListener('rested', () => {
    const [left, top, width, height] = view.window;
    const place = {image: view.image.id, x: round(left + width / 2), y: round(top + height / 2),
      z: round(view.zoom)};
    history.replaceState(null, '', `#${new URLSearchParams(place)}`);
  });
  document.addEventListener('keydown', event => {
    const typing = /^(INPUT|SELECT)$/.test(event.target.tagName) && event.target.type !== 'range';
    const id = {0: 'fit', 1: 'own', t: 'attention'}[event.key];
    if (id && !typing && !event.ctrlKey && !event.metaKey && !find('saving').open) find(id).click();
  });

  const wanted = Object.fromEntries(
    [...new URLSearchParams(location.hash.slice(1))].map(([name, value]) => [name, Number(value)]));
  const image = gallery.byId(wanted.image ?? state.images[0]?.id) ?? state.images[0];
  if (!image) return say('Add an image to begin.');
  await open(image, wanted.z > 0 && wanted.x >= 0 && wanted.y >= 0 ? wanted : null);
  find('viewer').querySelector('.openseadragon-canvas')?.focus();
}

function round(number) {
  return Math.round(number * 1000) / 1000;
}

start().catch(() => say('The viewer does not answer; start it again.'));
