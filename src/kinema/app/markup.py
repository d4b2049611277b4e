"""The parts of the page that Gradio has no component for, as HTML from templates that escape every value."""

from __future__ import annotations

from typing import Any

from kinema.report.markup import COLOURS

WIDTH, HEIGHT = 960, 220  # of the chart, in its own units

_TEMPLATES = {
    "recognised": """
<figure class="k-figure"><video class="k-video" controls playsinline preload="auto" src="{{ video }}"
  aria-label="{{ name }} with its labels"></video></figure>
<p class="k-line">{{ name }}: {{ "%.1f"|format(duration) }} s, {{ segments|length }}
  segment{{ "" if segments|length == 1 else "s" }}.</p>
<svg class="k-chart" viewBox="0 0 960 244" role="img" data-duration="{{ duration }}"
  aria-label="Scores of the classes over time; click to play from there">
  <rect x="0" y="0" width="960" height="220" class="k-ground"/>
  <line x1="0" x2="960" y1="110" y2="110" class="k-half"/>
  {% for line in lines %}<polyline points="{{ line.points }}" fill="none" stroke="{{ line.colour }}"
    stroke-width="3" vector-effect="non-scaling-stroke"/>{% endfor %}
  <line class="k-now" x1="0" x2="0" y1="0" y2="220"/>
  <text x="2" y="240" class="k-tick">0 s</text><text x="958" y="240" text-anchor="end" class="k-tick">
    {{ "%.1f"|format(duration) }} s</text>
</svg>
<ul class="k-legend">{% for line in lines %}<li><span style="background:{{ line.colour }}"></span>
  {{ line.label }}, at most {{ "%.2f"|format(line.peak) }}</li>{% endfor %}</ul>
{% if segments %}<div class="k-scroll" tabindex="0" role="region" aria-label="Segments"><table class="k-table">
  <thead><tr><th>class</th><th>start</th><th>end</th><th>score</th></tr></thead><tbody>
  {% for s in segments %}<tr><td>{{ s.label }}</td><td><button type="button" data-seek="{{ s.t_start }}"
    aria-label="play {{ s.label }} from {{ "%.2f"|format(s.t_start) }} s">{{ "%.2f"|format(s.t_start) }} s</button></td>
    <td>{{ "%.2f"|format(s.t_end) }} s</td><td>{{ "%.2f"|format(s.score) }}</td></tr>{% endfor %}
  </tbody></table></div>
{% else %}<p class="k-note">No class reached the threshold for a segment; the chart shows the scores.</p>{% endif %}
{% for part in lost %}<p class="k-warn">{{ "%.1f"|format(part.t_start) }} to {{ "%.1f"|format(part.t_end) }} s could not
  be read: {{ part.reason }}</p>{% endfor %}
<p>Download: <a download href="{{ csv }}">CSV</a> · <a download href="{{ json }}">JSON</a> ·
  <a download href="{{ video }}">video with labels</a></p>""",
    "why": """
<div class="k-pair"><figure class="k-figure"><video class="k-video k-source" controls playsinline preload="auto"
  src="{{ source }}" aria-label="{{ name }}"></video><figcaption>source</figcaption></figure>
<figure class="k-figure"><video class="k-video k-overlay" controls playsinline preload="auto" src="{{ overlay }}"
  data-offset="{{ start }}" aria-label="what the network looked at"></video><figcaption>what it looked at</figcaption>
</figure></div>
<ul class="k-facts">{% for f in facts %}<li>{% if f.recognizer %}{{ f.recognizer }}: {% endif %}<b>{{ f.label }}</b>
  {% if f.score is not none %}{{ "%.2f"|format(f.score) }}{% endif %}, method {{ f.method }}{% if f.layer %}, layer
  {{ f.layer }}{% endif %}.
  {% if f.verdict %}<span class="k-warn">{{ f.verdict }}</span>{% endif %}</li>{% endfor %}</ul>
<p>Download: <a download href="{{ overlay }}">overlay</a></p>""",
    "data": """
<p class="k-line">{{ source }}: {{ files }} files, {{ labels }} classes, {{ errors|length }} errors,
  {{ warnings|length }} warnings.</p>
<div class="k-scroll" tabindex="0" role="region" aria-label="Splits"><table class="k-table"><thead><tr><th>split</th>
  <th>videos</th><th>classes</th><th>hours</th></tr></thead><tbody>{% for split, s in splits %}<tr><td>{{ split }}</td>
  <td>{{ s.samples }}</td><td>{{ s.classes|length }}</td><td>{{ "%.2f"|format(s.hours) }}</td></tr>{% endfor %}
  </tbody></table></div>
{% for kind, listed in (("error", errors), ("warning", warnings)) %}{% for f in listed %}
<details class="k-{{ kind }}"><summary>{{ kind }}: {{ f.message }}</summary>
  <ul>{% for path in f.paths[:20] %}<li>{{ path }}</li>{% endfor %}</ul>
  {% if f.paths|length > 20 %}<p>and {{ f.paths|length - 20 }} more</p>{% endif %}</details>{% endfor %}{% endfor %}
{% if not errors and not warnings %}<p>Nothing to remark.</p>{% endif %}""",
    "sentence": """<p class="k-warn" role="alert">{{ text }}</p>""",
}

STYLE = """
.k-figure{margin:0;flex:1 1 280px}.k-video{width:100%;max-height:60vh;background:#111;display:block}
.k-pair{display:flex;flex-wrap:wrap;gap:12px}.k-chart{width:100%;height:auto;cursor:pointer;display:block}
.k-ground{fill:#f1f5f9}.k-half{stroke:#94a3b8;stroke-dasharray:4 4}.k-now{stroke:#111;stroke-width:2}
.k-tick{font-size:18px;fill:currentColor}.k-legend{list-style:none;padding:0;display:flex;flex-wrap:wrap;gap:4px 16px}
.k-legend span{display:inline-block;width:14px;height:14px;margin-right:6px;vertical-align:-2px}
.k-scroll{overflow-x:auto}.k-table{width:100%;border-collapse:collapse}.k-table th{text-align:left}
.k-table td,.k-table th{padding:4px 8px;border-bottom:1px solid #cbd5e1}
.k-table button{text-decoration:underline;background:none;border:0;cursor:pointer;color:inherit}
.k-warn{color:#b91c1c}.dark .k-warn{color:#fca5a5}.k-note{opacity:.85}
.k-error summary{color:#b91c1c}.dark .k-error summary{color:#fca5a5}li,summary,td{overflow-wrap:anywhere}
"""

# One listener for all results: Gradio replaces them, and scripts in replaced HTML do not run.
HEAD = """<script>
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
</script>"""


def render(template: str, **values: Any) -> str:
    """HTML from one of the templates; every value is escaped.

    Args:
        template: `recognised`, `why`, `data` or `sentence`.
        **values: what it shows.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return f'<div class="k-result">{environment.from_string(_TEMPLATES[template]).render(**values)}</div>'


def chart_lines(classes: list[tuple[str, list[float]]], times: list[float], duration: float) -> list[dict[str, Any]]:
    """The curves of the chart.

    Args:
        classes: label and scores from 0 to 1, one per time.
        times: seconds.
        duration: of the video, seconds.
    """
    across = [WIDTH * time / max(duration, 1e-6) for time in times]
    if len(across) == 1:  # one clip stands for the whole video
        across = [0.0, float(WIDTH)]
    found = []
    for number, (label, scores) in enumerate(classes):
        levels = scores * 2 if len(scores) == 1 else scores
        points = " ".join(f"{x:.1f},{HEIGHT * (1 - y):.1f}" for x, y in zip(across, levels, strict=True))
        colour = COLOURS[number % len(COLOURS)]
        found.append({"label": label, "points": points, "peak": max(scores), "colour": colour})
    return found
