'use strict';
// Each part of the page writes down that it came through; a test waits until all three are filled.
const write = (id, text) => { document.getElementById(id).textContent = text; };

// ?quiet=MS: the socket rests for so long before it is used, and nothing else goes on meanwhile.
const quiet = Number(new URLSearchParams(location.search).get('quiet') ?? 0);

const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`);
socket.onopen = () => setTimeout(() => socket.send('hello'), quiet);
socket.onmessage = (message) => write('ws', message.data);
socket.onerror = () => write('ws', 'error');

const words = [];
if (quiet === 0) {
  new EventSource('/events').onmessage = (event) => {
    words.push(event.data);
    if (words.length === 3) write('sse', words.join(','));
  };
}

addEventListener('load', () => {
  const styled = getComputedStyle(document.body).color === 'rgb(20, 40, 60)';
  const pictured = document.getElementById('logo').naturalWidth > 0;
  write('assets', styled && pictured ? 'ok' : `css ${styled}, image ${pictured}`);
});
