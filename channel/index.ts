/** JSON-RPC between processes of one machine, over Unix sockets. */
export { createChannel, type Channel } from './channel.ts';
export { connectChannel, listenForChannels } from './socket.ts';
