// pusher-js in Node, driven line by line: a command in JSON comes in, what happens goes out.
'use strict';
const path = require('path');
const Pusher = require(path.join(process.argv[2], 'pusher-js'));

const clients = {};
const say = (client, on, event, data) =>
  process.stdout.write(JSON.stringify({client, on, event, data: data === undefined ? null : data}) + '\n');

const commands = {
  connect({client, key, options}) {
    const pusher = clients[client] = new Pusher(key, options);
    pusher.connection.bind('state_change', ({current}) =>
      say(client, 'connection', current, {socket_id: pusher.connection.socket_id}));
    pusher.connection.bind('error', (error) => say(client, 'connection', 'error', error));
    pusher.connection.bind('message', ({event}) => say(client, 'raw', event));
    pusher.user.bind_global((event, data) => say(client, 'user', event, data));
    pusher.bind('pusher:signin_success', (data) => say(client, 'user', 'signed in', data));
  },
  subscribe({client, channel}) {
    const subscribed = clients[client].subscribe(channel);
    subscribed.bind_global((event, data) => say(client, channel, event, data));
  },
  unsubscribe({client, channel}) { clients[client].unsubscribe(channel); },
  trigger({client, channel, event, data}) { clients[client].channel(channel).trigger(event, data); },
  members({client, channel}) {
    const members = clients[client].channel(channel).members;
    say(client, channel, 'members', {count: members.count, me: members.myID, all: members.members});
  },
  signin({client}) { clients[client].signin(); },
  disconnect({client}) { clients[client].disconnect(); },
};

require('readline').createInterface({input: process.stdin})
  .on('line', (line) => { const command = JSON.parse(line); commands[command.do](command); })
  .on('close', () => process.exit(0));
