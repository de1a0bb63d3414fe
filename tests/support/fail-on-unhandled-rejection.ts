/** mocha passes a test that leaks an unhandled rejection; with this, the whole run fails instead. */
process.on('unhandledRejection', reason => {
  throw reason;
});
