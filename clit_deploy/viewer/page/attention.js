// What the pixel under the pointer attends to: the window of a stage, and the weights of a head or
// the mean of all heads, over the image.

import {sentence} from './tile_loader.js';

const DELAY = 120; // milliseconds that the pointer rests

export function addAttention(view, find, say) {
  const button = find('attention'), heads = find('heads'), choice = find('head');
  const canvas = find('windows');
  const pen = canvas.getContext('2d');
  let found = null, pixel = null, timer = 0, controller = null;

  const plan = view.state.plans.findIndex(one => !one.no_attention);
  if (plan < 0) {
    button.disabled = true;
    button.title = view.state.plans[0].no_attention;
    button.setAttribute('aria-description', button.title);
    return;
  }

  const on = () => button.getAttribute('aria-pressed') === 'true';

  const draw = () => {
    canvas.width = canvas.clientWidth * view.ratio;
    canvas.height = canvas.clientHeight * view.ratio;
    if (!on() || !found) return;
    pen.scale(view.ratio, view.ratio);
    const [stage, head] = (choice.value || '0/mean').split('/');
    const {window, heads: all} = found.stages[Math.min(stage, found.stages.length - 1)];
    const weights = head === 'mean' ? mean(all) : all[head];
    const most = Math.max(...weights.flat());
    const [x0, y0] = view.placeOf(window[0], window[1]);
    const [x1, y1] = view.placeOf(window[0] + window[2], window[1] + window[3]);
    const wide = (x1 - x0) / weights[0].length, high = (y1 - y0) / weights.length;
    weights.forEach((row, j) => row.forEach((weight, i) => {
      pen.fillStyle = color(weight / most);
      pen.fillRect(x0 + i * wide, y0 + j * high, wide, high);
    }));
    pen.strokeStyle = 'white';
    pen.lineWidth = 1.5;
    pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
    const [x, y] = view.placeOf(...pixel);
    pen.beginPath();
    pen.arc(x, y, 4, 0, 2 * Math.PI);
    pen.stroke();
    canvas.dataset.stages = found.stages.length;
  };

  const offer = () => {
    const before = choice.value;
    choice.replaceChildren();
    found.stages.forEach((stage, k) => {
      const name = found.stages.length > 1 ? `stage ${k + 1}, ` : '';
      choice.add(new Option(`${name}mean of the heads`, `${k}/mean`));
      stage.heads.forEach((_, h) => choice.add(new Option(`${name}head ${h + 1}`, `${k}/${h}`)));
    });
    if ([...choice.options].some(option => option.value === before)) choice.value = before;
  };

  const ask = async at => {
    controller?.abort();
    controller = new AbortController();
    const scale = Math.max(Math.round(view.zoom), 2);
    const query = `x=${at[0]}&y=${at[1]}&scale=${scale}`;
    try {
      const response = await fetch(`attention/${view.image.id}/${plan}?${query}`,
        {signal: controller.signal});
      if (response.status === 204) return;
      if (!response.ok) return say(await sentence(response));
      found = await response.json();
      pixel = at;
      offer();
      draw();
    } catch (error) {
      if (error.name !== 'AbortError') say('The viewer does not answer.');
    }
  };

  const element = view.viewer.element;
  const rest = event => {
    if (!on()) return;
    const box = element.getBoundingClientRect();
    const at = view.pointAt(event.clientX - box.left, event.clientY - box.top);
    clearTimeout(timer);
    if (at) timer = setTimeout(() => ask(at), DELAY);
  };
  element.addEventListener('pointermove', rest);
  element.addEventListener('pointerdown', rest);
  view.addEventListener('moved', draw);
  view.addEventListener('opened', () => { found = null; draw(); });
  choice.addEventListener('change', draw);
  button.addEventListener('click', () => {
    button.setAttribute('aria-pressed', String(!on()));
    heads.hidden = !on();
    if (on()) {
      const [left, top, width, height] = view.window;
      ask([left + width / 2, top + height / 2]);
    } else {
      controller?.abort();
      found = null;
    }
    draw();
  });
}

function mean(heads) {
  return heads[0].map((row, j) => row.map((_, i) =>
    heads.reduce((sum, head) => sum + head[j][i], 0) / heads.length));
}

// From transparent violet over red to light yellow.
const STOPS = [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]];

function color(part) {
  const at = part * (STOPS.length - 1), k = Math.min(Math.floor(at), STOPS.length - 2);
  const mix = STOPS[k].map((from, c) => Math.round(from + (STOPS[k + 1][c] - from) * (at - k)));
  return `rgb(${mix.join(' ')} / ${0.25 + 0.5 * part})`;
}
