// The tab Live: sends the newest frame of the camera, one at a time, and shows what comes back.
(() => {
  let stream = null, run = 0, ended = Promise.resolve();
  const REFUSED = {
    NotAllowedError: 'The browser refused the camera: allow it for this page (symbol beside the address), then start again.',
    NotFoundError: 'There is no camera: connect one, then start again.',
    NotReadableError: 'The camera cannot be opened: close the program that uses it, then start again.',
  };
  const post = async (address, body) => {
    const answer = await fetch(address, { method: 'POST', body, credentials: 'same-origin' });
    const values = await answer.json().catch(() => ({ error: 'the server gave no answer that can be read' }));
    if (!answer.ok) throw new Error(values.error || 'the server refused the frame');
    return values;
  };
  const stop = box => {
    run++;
    if (stream) for (const track of stream.getTracks()) track.stop();
    stream = null;
    box.querySelector('video').srcObject = null;
    box.querySelector('[data-live]').textContent = 'Start the camera';
  };
  const show = (box, found, delay, mode, wanted) => {
    box.querySelector('.k-live-label').textContent =
      found.label === null ? 'waiting for more frames' : `${found.label} ${found.score.toFixed(2)}`;
    box.querySelector('.k-bars').replaceChildren(...found.top.map(([label, score]) => {
      const item = document.createElement('li'), bar = document.createElement('span');
      bar.style.width = `${100 * score}%`;
      item.append(bar, `${label} ${score.toFixed(2)}`);
      return item;
    }));
    const rate = found.rate === null ? '' : `${found.rate.toFixed(1)} of ${wanted.toFixed(1)} frames per second, `;
    box.querySelector('.k-live-facts').textContent =
      `${rate}delay ${Math.round(delay)} ms (network ${Math.round(1000 * found.seconds)} ms), ` +
      (mode === 'window' ? 'sliding windows' : 'frame by frame');
  };
  const start = async box => {
    const own = ++run, error = box.querySelector('.k-live-error'), video = box.querySelector('video');
    error.textContent = '';
    // Of the camera before.
    box.querySelector('.k-live-label').textContent = '–';
    box.querySelector('.k-bars').replaceChildren();
    box.querySelector('.k-live-facts').textContent = '';
    try {
      if (!navigator.mediaDevices || !navigator.mediaDevices.getUserMedia)
        throw new Error('The browser gives no camera to this page: open it as http://localhost or over HTTPS.');
      const camera = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 } }, audio: false });
      if (own !== run) { for (const track of camera.getTracks()) track.stop(); return; }
      stream = camera;
      video.srcObject = camera;
      await video.play();
      box.querySelector('[data-live]').textContent = 'Stop the camera';
      const name = encodeURIComponent(box.querySelector('select').value);
      await ended; // else the end of the camera before would end this one
      const { key, mode, interval } = await post(`${box.dataset.address}/begin?recognizer=${name}`);
      const canvas = document.createElement('canvas'), began = performance.now();
      const factor = Math.min(1, 480 / Math.max(video.videoWidth, video.videoHeight));
      canvas.width = Math.round(video.videoWidth * factor);
      canvas.height = Math.round(video.videoHeight * factor);
      for (let due = began; own === run && document.contains(box); due += 1000 * interval) {
        const now = performance.now();
        if (due < now - 1000 * interval) due = now; // too slow: the frames between are left out, none waits
        await new Promise(r => setTimeout(r, Math.max(0, due - now)));
        if (own !== run) break;
        const taken = performance.now();
        canvas.getContext('2d').drawImage(video, 0, 0, canvas.width, canvas.height);
        const jpeg = await new Promise(r => canvas.toBlob(r, 'image/jpeg', 0.85));
        const found = await post(`${box.dataset.address}/frame/${key}?seconds=${(taken - began) / 1000}`, jpeg);
        if (own === run) show(box, found, performance.now() - taken, mode, 1 / interval);
      }
    } catch (problem) {
      if (own !== run) return;
      stop(box);
      error.textContent = REFUSED[problem.name] || problem.message;
    }
    if (own === run) stop(box);
  };
  document.addEventListener('click', e => {
    const button = e.target.closest('[data-live]');
    if (!button) return;
    const box = button.closest('.k-live');
    if (stream) {
      stop(box);
      ended = post(`${box.dataset.address}/end`).catch(() => {});
    } else start(box);
  });
  document.addEventListener('change', e => {
    const box = e.target.closest('.k-live');
    if (box && stream) { stop(box); start(box); }
  });
})();
