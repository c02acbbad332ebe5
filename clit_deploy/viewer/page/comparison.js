// A border in the view: the first plan is on the left, bicubic or the second plan on the right.

export function addComparison(view, find, layers) {
  const choice = find('compare'), split = find('split'), left = find('left'), right = find('right');
  const names = {none: 'nothing', bicubic: 'bicubic'};
  view.state.plans.forEach((plan, index) => { names[index] = plan.name; });
  for (const layer of ['none', 'bicubic', ...view.state.plans.keys()])
    if (layer !== 0) choice.add(new Option(names[layer], layer));
  const place = () => {
    view.split = view.above ? split.value / split.max : 1;
    view.moved();
  };
  choice.addEventListener('change', async () => {
    const before = view.above;
    view.above = choice.value === 'none' ? null : choice.value;
    split.hidden = left.hidden = right.hidden = !view.above;
    left.textContent = names[0];
    right.textContent = names[choice.value];
    if (before) view.remove(before);
    if (view.above) await view.add(view.above);
    layers.splice(1, 1, ...(view.above ? [view.above] : []));
    place();
  });
  split.addEventListener('input', place);
}
