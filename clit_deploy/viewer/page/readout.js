// Where the view is: the zoom, which can be typed, the pixel under the pointer, and buttons for
// them.

export function showReadout(view, find) {
  const scale = find('scale'), limit = find('limit'), place = find('place');
  const show = () => {
    if (document.activeElement !== scale || !scale.dataset.typed) scale.value = text(view.zoom);
    limit.textContent = view.zoom > view.largest * 0.99 ? `the limit is ×${view.largest}` : '';
  };
  view.addEventListener('moved', show);
  scale.addEventListener('input', () => { scale.dataset.typed = 'yes'; });
  scale.addEventListener('blur', () => { delete scale.dataset.typed; show(); });
  scale.addEventListener('keydown', event => {
    if (event.key !== 'Enter') return;
    delete scale.dataset.typed;
    const zoom = Number(scale.value.replace(',', '.'));
    if (zoom > 0) view.zoomTo(zoom);
    show();
    scale.select();
  });
  find('fit').addEventListener('click', () => view.fit());
  find('own').addEventListener('click', () => view.zoomTo(1));
  find('in').addEventListener('click', () => view.zoomTo(view.nextZoom * 1.5));
  find('out').addEventListener('click', () => view.zoomTo(view.nextZoom / 1.5));
  const element = view.viewer.element;
  const under = event => {
    const box = element.getBoundingClientRect();
    const at = view.pointAt(event.clientX - box.left, event.clientY - box.top);
    place.textContent = at ? `x ${at[0].toFixed(1)}  y ${at[1].toFixed(1)}` : '';
  };
  element.addEventListener('pointermove', under);
  element.addEventListener('pointerleave', () => { place.textContent = ''; });
}

export function text(zoom) {
  return String(zoom >= 10 ? Math.round(zoom * 10) / 10 : Math.round(zoom * 100) / 100);
}
