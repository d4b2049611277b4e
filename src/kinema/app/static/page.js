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
  if (!r || e.target !== r.querySelector('video')) return;
  for (const chart of r.querySelectorAll('.k-chart')) {
    const now = chart.querySelector('.k-now'), x = 960 * e.target.currentTime / +chart.dataset.duration;
    now.setAttribute('x1', x); now.setAttribute('x2', x);
  }
}, true);
for (const kind of ['play', 'pause', 'seeked']) document.addEventListener(kind, e => {
  const v = e.target, pair = v.closest && v.closest('.k-pair');
  const overlay = pair && pair.querySelector('.k-overlay');
  if (!overlay) return;
  // Source and overlay follow each other; the overlay shows a part that begins at its offset.
  const source = pair.querySelector('.k-source'), leads = v === overlay, other = leads ? source : overlay;
  const time = v.currentTime + +overlay.dataset.offset * (leads ? 1 : -1);
  if (Math.abs(other.currentTime - time) > 0.05) other.currentTime = Math.max(0, time);
  if (kind === 'play' && other.paused) other.play(); else if (kind === 'pause' && !other.paused) other.pause();
}, true);
