// Points on a canvas: by WebGL2, or point by point where a browser has none.

const SHAPES = 10; // circle, square, diamond, triangle, cross, x, star, ring, triangle down, bar

const VERTEX = `#version 300 es
in vec2 place; in vec4 look; in float chosen;
uniform vec2 middle, scale; uniform float size; uniform int pass;
out vec3 colour; flat out int shape; flat out float side;
void main() {
  bool drawn = pass == 0 || (pass == 1 && chosen < 0.5) || (pass == 2 && chosen > 0.5);
  gl_Position = drawn ? vec4((place - middle) * scale, 0.0, 1.0) : vec4(2.0, 2.0, 2.0, 1.0);
  side = size * (pass == 2 ? 1.35 : 1.0);
  gl_PointSize = side;
  colour = look.rgb;
  shape = int(look.a * 255.0 + 0.5);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec3 colour; flat in int shape; flat in float side;
uniform float strength;
out vec4 seen;
float star(vec2 p) {
  float turn = atan(p.x, p.y), fifth = 1.2566371;
  float a = abs(mod(turn + fifth / 2.0, fifth) - fifth / 2.0);
  return length(p) - mix(0.95, 0.42, a / (fifth / 2.0));
}
void main() {
  vec2 p = 2.0 * gl_PointCoord - 1.0; p.y = -p.y;
  vec2 q = abs(p);
  float d = length(p) - 0.9;
  if (shape == 1) d = max(q.x, q.y) - 0.78;
  else if (shape == 2) d = q.x + q.y - 0.98;
  else if (shape == 3) d = max(q.x * 0.87 + p.y * 0.5, -p.y) - 0.5;
  else if (shape == 4) d = max(max(q.x, q.y) - 0.92, min(q.x, q.y) - 0.28);
  else if (shape == 5) d = max(q.x + q.y - 1.25, abs(q.x - q.y) - 0.4);
  else if (shape == 6) d = star(p);
  else if (shape == 7) d = abs(length(p) - 0.68) - 0.22;
  else if (shape == 8) d = max(q.x * 0.87 - p.y * 0.5, p.y) - 0.5;
  else if (shape == 9) d = max(q.x - 0.92, q.y - 0.4);
  float soft = 2.0 / side;
  float alpha = strength * (1.0 - smoothstep(-soft / 2.0, soft / 2.0, d));
  if (alpha < 0.01) discard;
  seen = vec4(colour * alpha, alpha);
}`;

class GlPoints {
  constructor(canvas) {
    this.gl = canvas.getContext("webgl2", { antialias: false, premultipliedAlpha: true });
    if (!this.gl) throw new Error("no WebGL2");
    this.build();
  }

  build() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) || "no shaders");
    gl.useProgram(program);
    this.uniform = (name) => gl.getUniformLocation(program, name);
    this.buffers = {};
    for (const [name, length, kind, scaled] of [
      ["place", 2, gl.FLOAT, false], ["look", 4, gl.UNSIGNED_BYTE, true], ["chosen", 1, gl.UNSIGNED_BYTE, false],
    ]) {
      const at = gl.getAttribLocation(program, name);
      this.buffers[name] = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
      gl.enableVertexAttribArray(at);
      gl.vertexAttribPointer(at, length, kind, scaled, 0, 0);
    }
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  fill(name, values) {
    const { gl } = this;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
  }

  draw({ count, middle, scale, size, some, strength }) {
    const { gl, uniform } = this;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniform2fv(uniform("middle"), middle);
    gl.uniform2fv(uniform("scale"), scale);
    gl.uniform1f(uniform("size"), size);
    for (const pass of some ? [1, 2] : [0]) {
      gl.uniform1i(uniform("pass"), pass);
      gl.uniform1f(uniform("strength"), pass === 1 ? 0.16 : pass === 2 ? 1 : strength);
      gl.drawArrays(gl.POINTS, 0, count);
    }
  }
}

class PlainPoints {
  constructor(canvas) {
    this.canvas = canvas;
    this.values = {};
  }

  fill(name, values) {
    this.values[name] = values;
  }

  draw({ count, middle, scale, size, some, strength }) {
    const { place, look, chosen } = this.values;
    const pen = this.canvas.getContext("2d");
    const { width, height } = this.canvas;
    pen.clearRect(0, 0, width, height);
    for (const pass of some ? [0, 1] : [0]) {
      for (let row = 0; row < count; row++) {
        if (some && chosen[row] !== pass) continue;
        const x = ((place[2 * row] - middle[0]) * scale[0] * 0.5 + 0.5) * width;
        const y = (0.5 - (place[2 * row + 1] - middle[1]) * scale[1] * 0.5) * height;
        if (x < -size || y < -size || x > width + size || y > height + size) continue;
        pen.globalAlpha = some ? (pass ? 1 : 0.16) : strength;
        pen.fillStyle = `rgb(${look[4 * row]},${look[4 * row + 1]},${look[4 * row + 2]})`;
        plainShape(pen, look[4 * row + 3], x, y, size / 2);
      }
    }
  }
}

// Corners of the shapes in units of half the size, for canvases and the key of colours.
const CORNERS = {
  1: [[-0.78, -0.78], [0.78, -0.78], [0.78, 0.78], [-0.78, 0.78]],
  2: [[0, -0.98], [0.98, 0], [0, 0.98], [-0.98, 0]],
  3: [[0, -0.98], [0.87, 0.5], [-0.87, 0.5]],
  4: [[-0.28, -0.92], [0.28, -0.92], [0.28, -0.28], [0.92, -0.28], [0.92, 0.28], [0.28, 0.28], [0.28, 0.92],
    [-0.28, 0.92], [-0.28, 0.28], [-0.92, 0.28], [-0.92, -0.28], [-0.28, -0.28]],
  8: [[0, 0.98], [0.87, -0.5], [-0.87, -0.5]],
  9: [[-0.92, -0.4], [0.92, -0.4], [0.92, 0.4], [-0.92, 0.4]],
};
CORNERS[5] = CORNERS[4].map(([x, y]) => [(x - y) * 0.71, (x + y) * 0.71]);
CORNERS[6] = Array.from({ length: 10 }, (_, k) => {
  const r = k % 2 ? 0.42 : 0.95;
  return [r * Math.sin((k * Math.PI) / 5), -r * Math.cos((k * Math.PI) / 5)];
});

function plainShape(pen, shape, x, y, half) {
  pen.beginPath();
  const corners = CORNERS[shape];
  if (corners) for (const [dx, dy] of corners) pen.lineTo(x + half * dx, y + half * dy);
  else pen.arc(x, y, half * 0.9, 0, 2 * Math.PI);
  if (shape === 7) pen.arc(x, y, half * 0.46, 0, 2 * Math.PI, true);
  pen.fill();
}

// A shape of the key of colours.
function glyph(shape, colour) {
  const canvas = el("canvas", { width: 28, height: 28, class: "glyph", "aria-hidden": "true" });
  const pen = canvas.getContext("2d");
  pen.fillStyle = colour;
  plainShape(pen, shape, 14, 14, 12);
  return canvas;
}

// How large points are, in pixels of the screen.
function pointSize(count, zoom) {
  const alone = Math.max(3.2, 15 - 2.4 * Math.log10(Math.max(10, count)));
  return Math.min(22, alone * Math.pow(Math.max(1, zoom), 0.22));
}

function ringAt(pen, [x, y], radius, colour, width = 2) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.strokeStyle = colour;
  pen.lineWidth = width;
  pen.stroke();
}

// A new image on the map: a star with a dark edge and its name.
function queryAt(pen, [x, y], words, colours) {
  pen.beginPath();
  for (const [dx, dy] of CORNERS[6]) pen.lineTo(x + 13 * dx, y + 13 * dy);
  pen.closePath();
  pen.fillStyle = colours.accent;
  pen.strokeStyle = colours.background;
  pen.lineWidth = 5;
  pen.stroke();
  pen.fill();
  pen.font = `600 12px ${colours.font}`;
  pen.lineWidth = 4;
  pen.textBaseline = "middle";
  pen.strokeText(words, x + 16, y);
  pen.fillStyle = colours.text;
  pen.fillText(words, x + 16, y);
}
