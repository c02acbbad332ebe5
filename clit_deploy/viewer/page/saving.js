// The dialog that saves what is shown at a chosen scale, and shows the command that does the same.

import {sentence} from './tile_loader.js';
import {text} from './readout.js';

export function addSaving(view, find) {
  const dialog = find('saving'), scale = find('save-scale'), size = find('save-size');
  const command = find('command'), note = find('save-message'), format = find('save-format');
  const save = find('save-now');
  let region = null, controller = null;

  const factor = () => Number(scale.value.replace(',', '.'));

  const show = () => {
    const valid = factor() >= 1;
    size.textContent = valid
      ? `${Math.round(region[2] * factor())} × ${Math.round(region[3] * factor())} pixels`
      : 'a scale of 1 or more is needed';
    save.disabled = !valid;
    const plan = view.state.plans[0];
    const path = view.image.argument ?? 'IMAGE';
    command.textContent = `clit-deploy run ${path} -e ${plan.argument} -s ${scale.value} `
      + `--region ${region.join(',')} --srgb --format ${format.value}`;
  };

  find('save').addEventListener('click', () => {
    region = exact(view.window, view.image);
    scale.value = text(Math.max(view.zoom, 1));
    find('window').textContent = `The part of ${view.image.name} from x ${region[0]}, y `
      + `${region[1]}, ${region[2]} × ${region[3]} pixels.`;
    note.textContent = '';
    show();
    dialog.showModal();
  });
  scale.addEventListener('input', show);
  format.addEventListener('change', show);
  dialog.addEventListener('close', () => controller?.abort());

  find('copy').addEventListener('click', async () => {
    try {
      await navigator.clipboard.writeText(command.textContent);
      note.textContent = 'Copied.';
    } catch {
      getSelection().selectAllChildren(command);
      note.textContent = 'The command is selected; copy it with Ctrl-C.';
    }
  });

  save.addEventListener('click', async () => {
    save.disabled = true;
    note.textContent = 'Rendering…';
    controller = new AbortController();
    const body = JSON.stringify({
      image: view.image.id, plan: 0, region, scale: factor(), format: format.value,
    });
    try {
      const headers = {'Content-Type': 'application/json'};
      const response = await fetch('save', {method: 'POST', body, headers, signal: controller.signal});
      if (response.ok && response.status !== 204) {
        download(await response.blob(), response.headers.get('X-Name'));
        note.textContent = 'Saved.';
      } else note.textContent = response.ok ? '' : await sentence(response);
    } catch (error) {
      note.textContent = error.name === 'AbortError' ? '' : 'The viewer does not answer.';
    } finally {
      save.disabled = false;
    }
  });
}

// The window to a hundredth of a pixel, inside the image.
function exact([left, top, width, height], image) {
  const round = x => Math.floor(x * 100) / 100;
  const [x, y] = [round(left), round(top)];
  return [x, y, round(Math.min(width, image.width - x)), round(Math.min(height, image.height - y))];
}

function download(blob, name) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(blob);
  link.download = decodeURIComponent(name ?? 'view.png');
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
