/** The one part of undici that routers and hosts need; the whole of it costs 60 ms and 16 MB more at the start. */
declare module 'undici/lib/dispatcher/pool.js' {
  import { Pool } from 'undici';
  export default Pool;
}
