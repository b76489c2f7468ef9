// The version the build was given; the sources themselves have none.
export const VERSION: string = process.env['BERTH_BUILD_VERSION'] ?? 'unbuilt';
