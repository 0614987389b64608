'use strict';
// Asks what there is twice a second, and shows it. Text is only ever set as text.

const byId = (id) => document.getElementById(id);
const number = (value, digits = 3) => (value === null || value === undefined ? '–'
  : typeof value === 'number' ? value.toFixed(digits) : String(value));

function row(cells, late = false) {
  const line = document.createElement('tr');
  if (late) line.className = 'late';
  for (const cell of cells) {
    const place = document.createElement('td');
    if (cell instanceof Node) place.append(cell);
    else place.textContent = cell;
    line.append(place);
  }
  return line;
}

function fill(id, rows) {
  const body = byId(id).querySelector('tbody');
  body.replaceChildren(...rows);
}

function bar(joint) {
  const bar = document.createElement('progress');
  if (joint.measured === null || joint.low === null || joint.high === null) return '';
  bar.max = 1;
  bar.value = (joint.measured - joint.low) / (joint.high - joint.low);
  return bar;
}

function cameras(names) {
  const place = byId('cameras');
  if (place.childElementCount === names.length) return;
  place.replaceChildren(...names.map((name) => {
    const figure = document.createElement('figure');
    const image = document.createElement('img');
    image.alt = name;
    image.dataset.camera = name;
    const caption = document.createElement('figcaption');
    caption.textContent = name;
    figure.append(image, caption);
    return figure;
  }));
}

function show(state) {
  byId('head').className = `level${state.level}`;
  byId('state').textContent = state.state;
  byId('reason').textContent = state.reason;
  document.title = `${state.state} – act`;
  cameras(state.cameras);
  fill('joints', state.joints.map((joint) => row(
    [joint.name, number(joint.commanded), number(joint.measured), bar(joint)])));
  fill('inputs', state.inputs.map((input) => row(
    [input.name, number(input.age), number(input.rate, 1)], input.late)));
  fill('figures', state.figures.map((figure) => row([figure.name, figure.value])));
  fill('limits', state.limits.length ? state.limits.map(
    (limit) => row([limit.name, String(limit.count)])) : [row(['none', ''])]);
}

async function look() {
  try {
    // What does not answer is as good as not there: nothing old may look alive.
    const answer = await fetch('state.json', { signal: AbortSignal.timeout(2000) });
    if (!answer.ok) throw new Error(await answer.text());
    show(await answer.json());
  } catch (error) {
    byId('head').className = 'level2';
    byId('state').textContent = 'no connection';
    byId('reason').textContent = 'to the program that this page is of';
    fill('joints', []);
    fill('inputs', []);
    fill('figures', []);
    fill('limits', []);
  }
  setTimeout(look, 500);
}

let turn = 0;
setInterval(() => {
  if (document.hidden) return;
  turn += 1;
  for (const image of document.querySelectorAll('#cameras img')) {
    const next = new Image();
    next.onload = () => { image.src = next.src; };
    next.onerror = () => { image.removeAttribute('src'); };
    next.src = `camera/${encodeURIComponent(image.dataset.camera)}.jpg?${turn}`;
  }
}, 1000);

look();
