// Keys and buttons of the tab Label. Actions wait in a list while the server answers: none is lost, and none overtakes
// another, as two requests could.
(() => {
  const waiting = [];
  let focused = null, sent = 0, moving = 0, flight = 0;
  const MOVES = ['next', 'previous', 'go_to'];
  const LATE = 1000; // milliseconds from the end of an event to its answer in the document
  const video = () => document.querySelector('.k-label-video');
  const view = () => document.querySelector('.k-view');
  const desk = () => document.querySelector('.k-desk');
  const press = id => { const e = document.getElementById(id); (e.matches('button') ? e : e.querySelector('button')).click(); };
  // Until the video that was asked for is there, a key would mark something that nobody has seen.
  const opening = () => {
    const v = video(), a = view(), d = desk();
    if (!a || !d) return false;
    return +d.dataset.answered < moving || a.dataset.video !== d.dataset.video || !!v && v.readyState < 1 && !v.error;
  };
  window.kinemaOpening = opening;
  const showOpening = () => {
    const busy = opening();
    document.querySelectorAll('.k-label').forEach(e => e.classList.toggle('k-opening', busy));
    const said = document.querySelector('.k-refused');
    if (said && !busy) said.textContent = '';
  };
  const refuse = b => {
    const said = document.querySelector('.k-refused'), key = b.dataset.key === ' ' ? 'space' : b.dataset.key;
    if (said) said.textContent = `The video is still opening: ${key ? `key ${key}` : b.textContent.trim()} was not used. Press again when it is shown.`;
  };
  const drawNow = () => {
    const bar = document.querySelector('.k-bar'), v = video();
    if (!bar || !v) return;
    const now = bar.querySelector('.k-now'), x = 960 * v.currentTime / +bar.dataset.length;
    now.setAttribute('x1', x); now.setAttribute('x2', x);
  };
  const send = () => { if (!flight && waiting.length) { flight = waiting.at(-1).id; press('k-label-go'); } };
  window.kinemaActions = () => {
    if (waiting.length) flight = waiting.at(-1).id;
    return JSON.stringify(waiting.splice(0));
  };
  // The answer of an event reaches the document a little later than its callback.
  window.kinemaFocus = () => {
    const answered = flight;
    flight = 0;
    send();
    setTimeout(showOpening);
    setTimeout(() => { if (answered >= moving) moving = 0; showOpening(); }, LATE);
    window.kinemaRefocus();
  };
  window.kinemaRefocus = () => {
    setTimeout(() => {
      drawNow();
      // The panel was replaced: whoever moves by keyboard goes on where they were.
      if (focused && document.activeElement === document.body) {
        const again = document.querySelector(focused);
        if (again) again.focus({preventScroll: true});
      }
      focused = null;
    }, 100);
  };
  window.kinemaEnter = () => {
    // Whoever has pressed a button above goes on with the keys; space would press that button again.
    moving = 0;
    const from = document.activeElement, began = Date.now();
    const enter = () => {
      const a = view(), at = document.activeElement;
      if (at !== from && at !== document.body && at !== a) return; // somebody has moved on meanwhile
      if (a && at !== a) a.focus();
      if (Date.now() - began < LATE || !a) setTimeout(enter, 50);
    };
    enter();
    setTimeout(showOpening, LATE);
  };
  const act = b => {
    const v = video(), what = b.dataset.act;
    if (!MOVES.includes(what) && what !== 'undo' && opening()) { refuse(b); return; }
    if (what === 'play') { if (v) { if (v.paused) v.play(); else v.pause(); } return; }
    const held = document.activeElement.closest && document.activeElement.closest('[data-act]');
    if (held) {
      focused = `.k-label [data-act="${held.dataset.act}"]`;
      if (held.dataset.label) focused += `[data-label="${CSS.escape(held.dataset.label)}"]`;
    }
    if (what === 'suggest') { press('k-label-suggest'); return; }
    const action = {act: what, video: b.closest('.k-label').dataset.video, id: ++sent};
    if (v) action.time = v.currentTime;
    if (b.dataset.label !== undefined) action.label = b.dataset.label;
    if (b.dataset.item !== undefined) action.number = +b.dataset.item;
    if (what === 'new') action.label = b.parentElement.querySelector('input').value;
    if (what === 'go_to') action.number = b.parentElement.querySelector('input').value - 1;
    if (what === 'edit' || what === 'correct') seek(b.closest('tr').querySelector('[data-go]').dataset.go);
    if (MOVES.includes(what)) { moving = sent; showOpening(); }
    waiting.push(action);
    send();
  };
  const seek = time => { const v = video(); if (v) v.currentTime = +time; };
  document.addEventListener('click', e => {
    const b = e.target.closest('.k-label [data-act]'), go = e.target.closest('.k-label [data-go]');
    const bar = e.target.closest('.k-bar');
    if (b) act(b);
    else if (go) { seek(go.dataset.go); video() && video().play(); }
    else if (bar) {
      const box = bar.getBoundingClientRect();
      seek((e.clientX - box.left) / box.width * +bar.dataset.length);
    }
  });
  const ours = e => {
    const d = desk(), t = e.target;
    if (!d || d.offsetParent === null || e.ctrlKey || e.altKey || e.metaKey) return false;
    if (t.matches('input, textarea, select, [contenteditable=true]')) return false;
    // Elsewhere on the page, space and arrows keep their meaning.
    return t === document.body || t.closest('.k-label') || !/^( |Arrow.*|Enter)$/.test(e.key) && !t.closest('[role=listbox]');
  };
  document.addEventListener('keydown', e => {
    if (e.key === 'Enter' && e.target.matches('.k-new input')) {
      act(e.target.parentElement.querySelector('[data-act]'));
      e.target.blur();
      return;
    }
    if (!ours(e)) return;
    if (e.key === 'ArrowLeft' || e.key === 'ArrowRight') {
      const v = video();
      if (v) { v.currentTime = Math.max(0, v.currentTime + (e.key === 'ArrowLeft' ? -0.1 : 0.1)); e.preventDefault(); }
      return;
    }
    const key = e.key.toLowerCase();
    if (key.length !== 1 || e.repeat && key !== ' ') return;
    const b = document.querySelector(`.k-label [data-key="${CSS.escape(key)}"]`);
    if (b) { e.preventDefault(); if (!e.repeat) act(b); }
  });
  // A focused button would be pressed when space is released.
  document.addEventListener('keyup', e => { if (e.key === ' ' && ours(e)) e.preventDefault(); });
  for (const kind of ['loadedmetadata', 'error']) document.addEventListener(kind, e => {
    if (e.target.matches && e.target.matches('.k-label-video')) showOpening();
  }, true);
  for (const kind of ['timeupdate', 'seeking']) document.addEventListener(kind, e => {
    if (e.target.matches && e.target.matches('.k-label-video')) drawNow();
  }, true);
})();
