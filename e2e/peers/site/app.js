'use strict';
// Each part of the page writes down that it came through; a test waits until all three are filled.
const write = (id, text) => { document.getElementById(id).textContent = text; };

const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/ws`);
socket.onopen = () => socket.send('hello');
socket.onmessage = (message) => write('ws', message.data);
socket.onerror = () => write('ws', 'error');

const words = [];
const events = new EventSource('/events');
events.onmessage = (event) => {
  words.push(event.data);
  if (words.length === 3) write('sse', words.join(','));
};

addEventListener('load', () => {
  const styled = getComputedStyle(document.body).color === 'rgb(20, 40, 60)';
  const pictured = document.getElementById('logo').naturalWidth > 0;
  write('assets', styled && pictured ? 'ok' : `css ${styled}, image ${pictured}`);
});
