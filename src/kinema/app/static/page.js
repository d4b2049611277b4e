// One listener for all results: Gradio replaces them, and scripts in replaced HTML do not run.
document.addEventListener('click', e => {
  const b = e.target.closest('[data-seek]'), c = e.target.closest('.k-chart');
  if (!b && !c) return;
  const v = (b || c).closest('.k-result').querySelector('video');
  const box = (c || b).getBoundingClientRect();
  v.currentTime = b ? +b.dataset.seek : (e.clientX - box.left) / box.width * +c.dataset.duration;
  v.play();
});
document.addEventListener('timeupdate', e => {
  const r = e.target.closest && e.target.closest('.k-result');
  const now = r && r.querySelector('.k-now'), chart = r && r.querySelector('.k-chart');
  if (!now) return;
  const x = 960 * e.target.currentTime / +chart.dataset.duration;
  now.setAttribute('x1', x); now.setAttribute('x2', x);
}, true);
for (const kind of ['play', 'pause', 'seeked']) document.addEventListener(kind, e => {
  if (!e.target.matches || !e.target.matches('.k-overlay')) return;
  const s = e.target.closest('.k-result').querySelector('.k-source');
  s.currentTime = e.target.currentTime + +e.target.dataset.offset;
  if (kind === 'play') s.play(); else if (kind === 'pause') s.pause();
}, true);
