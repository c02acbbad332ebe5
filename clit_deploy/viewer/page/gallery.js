// Which image is shown, and images that the page sends if it may.

import {sentence} from './tile_loader.js';

export function addGallery(view, find, say, open) {
  const choice = find('images'), upload = find('upload'), file = find('file');

  const offer = () => {
    choice.replaceChildren(...view.state.images.map(image => new Option(image.name, image.id)));
    choice.disabled = view.state.images.length < 2;
  };
  const byId = id => view.state.images.find(image => image.id === Number(id));

  offer();
  choice.addEventListener('change', () => open(byId(choice.value)));
  upload.hidden = !view.state.upload;

  file.addEventListener('change', async () => {
    const [sent] = file.files;
    file.value = '';
    if (!sent) return;
    if (sent.size > view.state.upload)
      return say(`${sent.name} is larger than ${view.state.upload / 1e6} MB, the limit of the viewer.`);
    try {
      const headers = {'X-Name': encodeURIComponent(sent.name)};
      const response = await fetch('images', {method: 'POST', body: sent, headers});
      if (!response.ok) return say(await sentence(response));
      const {id} = await response.json();
      const state = await (await fetch('state')).json();
      view.state.images = state.images;
      offer();
      choice.value = id;
      open(byId(id));
    } catch {
      say('The viewer does not answer.');
    }
  });
  return {byId, choose: image => { choice.value = image.id; }};
}
